"""The stages finetune and evaluate: identical conditions for all arms, and what they leave behind."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from components.augment import Augment
from components.backbones.timm import Config as Timm
from components.encoder import read_header, read_tensors, save_encoder
from components.errors import CheckpointError, DataError, TrainingError
from components.log import SilentLog
from components.pixels import read_pixels, write_pixels
from flows.evaluate import evaluate
from flows.finetune import finetune
from flows.settings import PARAMS, Evaluate, Labels, Settings, load_settings

BACKBONE = Timm(name="test_efficientnet")
CLASSES = ("benign", "malignant", "vascular")
SIZE = 32


@pytest.fixture(scope="module")
def params(repo) -> Settings:
    return load_settings(repo / PARAMS)


@pytest.fixture(scope="module")
def labels() -> Labels:
    return Labels(scheme="three", schemes={"three": {name: (name,) for name in CLASSES}})


@pytest.fixture(scope="module")
def settings(params, labels) -> dict[str, object]:
    """Sections that make a tiny training."""
    schedule = {"epochs": 2, "learning_rate": 0.01}
    changes = {"frozen": schedule, "full": schedule, "batch_size": 8, "head": {"hidden": 8, "dropout": 0.2}}
    tiny = type(params.finetune).model_validate(params.finetune.model_dump() | changes)
    return {"labels": labels, "backbone": BACKBONE, "augment": params.augment, "finetune": tiny}


def _write_split(folder: Path, count: int, seed: int) -> None:
    """Images whose brightness tells the class."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % len(CLASSES)
    images = rng.integers(0, 60, (count, SIZE, SIZE, 3)) + 60 * classes[:, None, None, None]
    names = [f"{folder.name}_{row:03d}" for row in range(count)]
    index = pd.DataFrame(
        {"image_id": names, "label": [CLASSES[k] for k in classes], "lesion_id": names, "group": names}
    )
    write_pixels(folder, images.astype(np.uint8), index, SIZE)


@pytest.fixture
def paths(tmp_path, params):
    """A workspace with packed images and two arms, one of them twice."""
    changed = {name: tmp_path / name for name in type(params.paths).model_fields}
    paths = params.paths.model_copy(update=changed)
    for seed, (split, count) in enumerate({"train": 21, "val": 9, "test": 9}.items()):
        _write_split(paths.pixels / split, count, seed)
    for arm, seed in {"vae": 0, "twin": 0, "random": 1}.items():
        torch.manual_seed(seed)
        save_encoder(paths.encoders / f"{arm}.safetensors", BACKBONE.build(), BACKBONE, {"arm": arm})
    return paths


@pytest.fixture
def run(settings, paths, params):
    def run(arm="vae", protocol="full", seed=0, log=None, **changes):
        given = settings | {"paths": paths, "compute": params.compute, "log": log or SilentLog()} | changes
        return finetune.work(arm=arm, protocol=protocol, seed=seed, **given)

    return run


PRINTS = {"train_index_sha256", "head_init_sha256", "batches_sha256", "augmentation_sha256"}


def _prints(metrics: dict) -> dict:
    return {name: metrics[name] for name in PRINTS}


@pytest.mark.parametrize("protocol", ["frozen", "full"])
def test_arms_with_equal_encoders_end_equal_to_the_last_bit(run, paths, protocol):
    first, twin = run("vae", protocol), run("twin", protocol)
    assert first == twin
    weights, copy = (read_tensors(paths.classifiers / f"{arm}-{protocol}-0.safetensors") for arm in ("vae", "twin"))
    assert weights.keys() == copy.keys() and all(torch.equal(weights[name], copy[name]) for name in weights)


def test_arms_with_other_encoders_differ_in_nothing_else(run):
    first, other = run("vae"), run("random")
    assert _prints(first) == _prints(other)
    assert first["last"] != other["last"]


def test_another_seed_changes_head_batches_and_augmentation_but_not_the_images(run):
    first, other = _prints(run(seed=0)), _prints(run(seed=1))
    assert {name for name in PRINTS if first[name] == other[name]} == {"train_index_sha256"}


def test_running_again_gives_the_same_bytes(run, paths):
    first = run()
    files = [paths.classifiers / "vae-full-0.safetensors", paths.curves / "finetune" / "vae-full-0.csv"]
    before = [file.read_bytes() for file in files]
    assert run() == first
    assert [file.read_bytes() for file in files] == before


def test_metrics_are_first_last_and_best_row_of_the_curve(run, paths):
    log = SilentLog()
    metrics = run(log=log)
    curve = pd.read_csv(paths.curves / "finetune" / "vae-full-0.csv")
    measured = [f"{split}/{name}" for split in ("train", "val") for name in ("loss", "accuracy", "balanced_accuracy")]
    assert list(curve) == ["epoch", "fit/loss", *measured, "gap/loss", "gap/accuracy", "learning_rate"]
    assert list(curve["epoch"]) == [0, 1] and metrics["epochs"] == 2
    rows = curve.drop(columns="epoch").to_dict("records")
    assert metrics["best_epoch"] == curve["val/loss"].idxmin()
    for name, row in {"first": rows[0], "last": rows[1], "best": rows[metrics["best_epoch"]]}.items():
        assert metrics[name] == pytest.approx(row)
    assert [step for step, _ in log.points] == [0, 1]
    json.dumps(metrics, allow_nan=False)


def test_a_frozen_encoder_is_saved_as_it_came(run, paths):
    run(protocol="frozen")
    before = read_tensors(paths.encoders / "vae.safetensors")
    after = read_tensors(paths.classifiers / "vae-frozen-0.safetensors")
    assert all(torch.equal(after[f"encoder.{name}"], value) for name, value in before.items())


def test_the_saved_classifier_is_the_one_of_the_best_epoch(run, paths, labels):
    """Its val loss, measured anew, is the best of the curve."""
    from components.classifier import load_classifier, predict
    from components.encoder import to_tensor
    from components.metrics.log_loss import log_loss

    metrics = run()
    classifier = load_classifier(paths.classifiers / "vae-full-0.safetensors", BACKBONE, CLASSES)
    val = read_pixels(paths.pixels / "val")
    probabilities = predict(classifier, [to_tensor(val.take(np.arange(len(val))))])
    assert log_loss(val.labels(CLASSES), probabilities) == pytest.approx(metrics["best"]["val/loss"], rel=1e-4)


def test_test_images_stay_closed(run, paths):
    (paths.pixels / "test" / "images.npy").unlink()
    run()


def test_the_file_says_what_it_is(run, paths):
    run()
    header = read_header(paths.classifiers / "vae-full-0.safetensors")
    assert header["kind"] == "classifier" and header["classes"] == list(CLASSES) and header["run"] == "vae-full-0"


@pytest.mark.parametrize("imbalance", ["none", "weights", "sampling", "focal"])
def test_every_way_to_meet_imbalance_trains(run, settings, imbalance):
    changed = settings["finetune"].model_copy(update={"imbalance": imbalance})
    assert np.isfinite(run(protocol="frozen", finetune=changed)["last"]["val/loss"])


def test_the_monitor_chooses_the_epoch(run, settings):
    changed = settings["finetune"].model_copy(update={"monitor": "balanced_accuracy"})
    metrics = run(finetune=changed)
    assert metrics["best"]["val/balanced_accuracy"] == max(
        metrics[name]["val/balanced_accuracy"] for name in ("first", "last")
    )


def test_a_label_outside_the_scheme_is_an_error(run):
    alone = Labels(scheme="all", schemes={"all": {"lesion": CLASSES, "nothing": ()}})
    with pytest.raises(DataError, match="label 'benign', expected one of"):
        run(labels=alone)


def test_a_split_of_one_class_names_the_mend(run, paths):
    index = pd.DataFrame({"image_id": ["a"], "label": ["benign"], "lesion_id": ["a"], "group": ["a"]})
    write_pixels(paths.pixels / "val", np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8), index, SIZE)
    with pytest.raises(TrainingError, match=r"val has 1 images of classes \['benign'\], expected at least two"):
        run()


def test_a_resume_state_of_other_settings_names_the_key_of_params(run, settings, paths, monkeypatch):
    """The second epoch is interrupted; then a setting changes."""
    monkeypatch.setattr(SilentLog, "track", _stop_in_second_epoch)
    with pytest.raises(KeyError, match="killed"):
        run()
    monkeypatch.undo()
    assert (paths.checkpoints / "finetune" / "vae-full-0" / "last.ckpt").is_file()
    changed = settings["finetune"].model_copy(update={"weight_decay": 0.5})
    with pytest.raises(CheckpointError, match=r"finetune.weight_decay = 0.05, but now it is 0.5"):
        run(finetune=changed)


def test_an_interrupted_run_goes_on_to_the_same_classifier(run, paths, monkeypatch):
    expected = run("twin")
    monkeypatch.setattr(SilentLog, "track", _stop_in_second_epoch)
    with pytest.raises(KeyError, match="killed"):
        run()
    monkeypatch.undo()
    log = SilentLog()
    assert run(log=log) == expected
    assert "vae-full-0: going on after epoch 1 of 2" in log.lines
    weights, twin = (read_tensors(paths.classifiers / f"{arm}-full-0.safetensors") for arm in ("vae", "twin"))
    assert all(torch.equal(weights[name], twin[name]) for name in weights)
    assert not (paths.checkpoints / "finetune" / "vae-full-0").exists()


def _stop_in_second_epoch(self, items, total, what):
    for place, item in enumerate(items):
        if "epoch 2" in what and place == 1:
            raise KeyError("killed")
        yield item


@pytest.fixture
def evaluated(run, paths, params, labels):
    """Two runs, evaluated; gives a function that evaluates again."""
    study = params.study.model_copy(
        update={"arms": ("vae", "random"), "protocols": ("frozen",), "seeds": (0,), "reference": "vae"}
    )
    for arm in study.arms:
        run(arm, "frozen")

    def again(log=None, **changes):
        given = {"study": study, "labels": labels, "backbone": BACKBONE, "evaluate": Evaluate(calibration_bins=5)}
        return evaluate.work(
            **(given | {"paths": paths, "compute": params.compute, "log": log or SilentLog()} | changes)
        )

    return again


def test_predictions_hold_val_and_test_images_with_probabilities(evaluated, paths):
    metrics = evaluated()
    assert list(metrics) == ["vae-frozen-0", "random-frozen-0"]
    table = pd.read_parquet(paths.predictions / "vae-frozen-0.parquet")
    columns = ["image_id", "lesion_id", "group", "split", "label", *(f"p_{name}" for name in CLASSES)]
    assert list(table) == columns
    assert table["split"].value_counts().to_dict() == {"val": 9, "test": 9}
    np.testing.assert_allclose(table[columns[5:]].sum(axis=1), 1, atol=1e-12)
    assert set(table["image_id"]) == {f"{split}_{row:03d}" for split in ("val", "test") for row in range(9)}


def test_measures_are_of_test_images_and_equal_scikit_learns(evaluated, paths):
    from sklearn import metrics as sk

    found = evaluated()["vae-frozen-0"]
    table = pd.read_parquet(paths.predictions / "vae-frozen-0.parquet").query("split == 'test'")
    probabilities = table[[f"p_{name}" for name in CLASSES]].to_numpy()
    truth = table["label"].map(CLASSES.index).to_numpy()
    predicted = probabilities.argmax(1)
    assert found["accuracy"] == sk.accuracy_score(truth, predicted)
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
    assert found["macro_auroc"] == pytest.approx(sk.roc_auc_score(truth, probabilities, multi_class="ovr"))
    assert found["log_loss"] == pytest.approx(sk.log_loss(truth, probabilities))
    recalls = sk.recall_score(truth, predicted, average=None, zero_division=0)
    assert found["sensitivity"] == pytest.approx(dict(zip(CLASSES, recalls, strict=True)))
    confusion = pd.read_csv(paths.predictions / "vae-frozen-0.confusion.csv", index_col="true")
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(truth, predicted, labels=range(3)))


def test_evaluating_again_gives_the_same_bytes(evaluated, paths):
    first = evaluated()
    before = {file.name: file.read_bytes() for file in paths.predictions.iterdir()}
    assert evaluated() == first
    assert {file.name: file.read_bytes() for file in paths.predictions.iterdir()} == before and len(before) == 4


def test_classifiers_of_another_study_are_left_out_with_one_line(evaluated, paths):
    (paths.classifiers / "old-full-9.safetensors").write_bytes(b"")
    log = SilentLog()
    assert "old-full-9" not in evaluated(log)
    assert sum("1 classifiers are not of this study and are left out: old-full-9" in line for line in log.lines) == 1


def test_a_missing_classifier_is_named_and_old_predictions_stay(evaluated, paths):
    evaluated()
    (paths.classifiers / "vae-frozen-0.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"vae-frozen-0.safetensors: is not there; run the stage"):
        evaluated()
    assert (paths.predictions / "vae-frozen-0.parquet").is_file()


def test_a_class_without_test_images_is_left_out_of_sensitivity(evaluated, paths):
    index = pd.read_csv(paths.pixels / "test" / "index.csv")
    kept = (index["label"] != "vascular").to_numpy()
    images = np.load(paths.pixels / "test" / "images.npy")
    write_pixels(paths.pixels / "test", images[kept], index[kept], SIZE)
    found = evaluated()["vae-frozen-0"]
    assert set(found["sensitivity"]) == {"benign", "malignant"} and set(found["specificity"]) == set(CLASSES)
    json.dumps(found, allow_nan=False)


def test_the_conditions_hold_every_setting_of_finetune(settings):
    """A setting that is added but not handed on would be without effect."""
    from components.finetuning import Conditions

    fields = {field.name for field in dataclasses.fields(Conditions)}
    finetune_section = set(type(settings["finetune"]).model_fields) - {"frozen", "full", "head"}
    assert fields == finetune_section | {
        "classes",
        "protocol",
        "augment",
        "epochs",
        "learning_rate",
        "hidden",
        "dropout",
    }
    assert isinstance(settings["augment"], Augment)
