"""The stages finetune and evaluate: identical conditions for all arms, and what they leave behind."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from components.base.errors import CheckpointError, DataError, TrainingError
from components.base.log import SilentLog
from components.data.labels import Labels
from components.data.pixels import read_pixels, write_pixels
from components.models.backbones.timm import Config as Timm
from components.models.weights_file import read_header, read_tensors, save_encoder
from components.training.settings import Augment
from flows.evaluate import evaluate
from flows.finetune import finetune
from flows.settings import PARAMS, Settings, load_settings
from flows.settings.analysis import Evaluate

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
    lpft = {"head": schedule, "full": schedule}
    head = {"hidden": 8, "dropout": 0.2}
    changes = {"frozen": schedule, "full": schedule, "lpft": lpft, "batch_size": 8, "head": head}
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
    quantities = ("loss", "accuracy", "balanced_accuracy", "macro_auroc")
    measured = [f"{of}/{name}" for of in ("train", "val", "gap") for name in quantities]
    assert list(curve) == ["epoch", "fit/loss", *measured, "learning_rate"]
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
    from components.models.classifier import predict
    from components.models.encoder import to_tensor
    from components.models.weights_file import load_classifier
    from components.statistics.metrics.log_loss import log_loss

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
    assert {file.name: file.read_bytes() for file in paths.predictions.iterdir()} == before and len(before) == 5


def test_how_much_of_each_test_picture_its_lesion_fills_is_written_down(evaluated, paths):
    index = read_pixels(paths.pixels / "test").index
    disc = cv2.circle(np.full((SIZE, SIZE, 3), 210, np.uint8), (SIZE // 2, SIZE // 2), SIZE // 4, (90, 60, 50), -1)
    images = np.stack([disc, *[np.full_like(disc, 210)] * (len(index) - 1)])  # a lesion on the first alone
    shutil.rmtree(paths.pixels / "test")
    write_pixels(paths.pixels / "test", images, index.drop(columns="crc32", errors="ignore"), SIZE)
    evaluated()
    table = pd.read_csv(paths.predictions / "lesion_share.csv")
    assert list(table["image_id"]) == list(index["image_id"])
    assert table["lesion_share"][0] == pytest.approx(np.pi / 16, abs=0.1)
    assert table["lesion_share"][1:].isna().all()


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
    from components.training.conditions import Conditions

    fields = {field.name for field in dataclasses.fields(Conditions)}
    finetune_section = set(type(settings["finetune"]).model_fields) - {"frozen", "full", "lpft", "head"}
    assert fields == finetune_section | {"classes", "phases", "augment", "hidden", "dropout"}
    assert isinstance(settings["augment"], Augment)


def _changed(settings, **changes):
    return settings["finetune"].model_copy(update=changes)


def _weights(paths, run: str) -> dict[str, torch.Tensor]:
    return read_tensors(paths.classifiers / f"{run}.safetensors")


def _encoder(paths, run: str) -> dict[str, torch.Tensor]:
    weights = _weights(paths, run)
    return {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}


OPTIONS = {
    "mixed": {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1},
    "averaged": {"ema": 0.7, "clip": 0.5, "layer_decay": 0.7, "decay": "constant", "warm_up": 0.3},
    "half_frozen": {"freeze": 2, "ema": 0.7},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_interrupted_run_with_options_goes_on_to_the_same_classifier(run, settings, paths, monkeypatch, name):
    changed = _changed(settings, **OPTIONS[name])
    plain, expected = run("twin"), run("twin", finetune=changed)
    assert expected["last"] != plain["last"]
    monkeypatch.setattr(SilentLog, "track", _stop_in_second_epoch)
    with pytest.raises(KeyError, match="killed"):
        run(finetune=changed)
    monkeypatch.undo()
    assert run(finetune=changed) == expected
    weights, twin = _weights(paths, "vae-full-0"), _weights(paths, "twin-full-0")
    assert all(torch.equal(weights[key], twin[key]) for key in weights)


@pytest.mark.parametrize("option", [{name: value} for name, value in OPTIONS["averaged"].items()], ids=str)
def test_each_option_changes_what_is_learned(run, settings, option):
    assert run(finetune=_changed(settings, **option))["last"] != run()["last"]


@pytest.mark.parametrize("imbalance", ["none", "weights", "sampling", "focal"])
def test_mixing_trains_with_every_way_to_meet_imbalance(run, settings, imbalance):
    metrics = run(finetune=_changed(settings, **OPTIONS["mixed"], imbalance=imbalance))
    assert np.isfinite([metrics["last"]["fit/loss"], metrics["last"]["val/loss"]]).all()


def test_averaged_weights_are_those_that_are_measured_and_kept(run, settings, paths):
    from components.models.classifier import predict
    from components.models.encoder import to_tensor
    from components.models.weights_file import load_classifier
    from components.statistics.metrics.log_loss import log_loss

    metrics = run(finetune=_changed(settings, ema=0.7))
    classifier = load_classifier(paths.classifiers / "vae-full-0.safetensors", BACKBONE, CLASSES)
    val = read_pixels(paths.pixels / "val")
    probabilities = predict(classifier, [to_tensor(val.take(np.arange(len(val))))])
    assert log_loss(val.labels(CLASSES), probabilities) == pytest.approx(metrics["best"]["val/loss"], rel=1e-4)


@pytest.mark.parametrize("protocol", ["frozen", "full"])
def test_the_moving_average_equals_its_closed_form(protocol):
    """After T steps: d^(T-1) w_1 + (1 - d) sum over t from 2 of d^(T-t) w_t, BatchNorm's statistics included."""
    import pytorch_lightning as pl

    from components.models.classifier import Classifier, build_head
    from components.training.learner import Learner
    from components.training.loop import fit, open_session
    from components.training.losses import build_objective
    from components.training.optimizers import adamw

    d, steps = 0.8, 6
    torch.manual_seed(0)
    encoder = BACKBONE.build()
    classifier = Classifier(encoder, build_head(encoder.feature_dim, 8, 0.2, 3, 0))
    objective = build_objective("none", np.arange(3), 3, 2.0)
    learner = Learner(classifier, protocol, objective, lambda m: adamw(m, 0.01, 0.0, steps), ema=d)
    seen = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, *_):
            seen.append({name: w.detach().clone().double() for name, w in learner.net.state_dict().items()})

    batch = (torch.randint(0, 256, (6, 3, SIZE, SIZE), dtype=torch.uint8), torch.arange(6) % 3)
    session = open_session("cpu", cpu=BACKBONE.cpu, seed=0, checkpoint=None, log=SilentLog())
    given = {"epochs": 2, "session": session, "log": SilentLog(), "settings": {}, "what": "toy"}
    fit(learner, lambda _: [batch] * 3, 3, **given, end_of_epoch=lambda _: {}, callbacks=[Watch()])
    assert len(seen) == steps
    for name, found in learner.evaluated.state_dict().items():
        if not found.is_floating_point():
            continue
        expected = d ** (steps - 1) * seen[0][name] + sum(
            (1 - d) * d ** (steps - 1 - t) * seen[t][name] for t in range(1, steps)
        )
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert any(
        not torch.equal(found.double(), seen[-1][name]) for name, found in learner.evaluated.state_dict().items()
    )


def test_frozen_stages_keep_weights_and_statistics_to_the_last_bit(run, settings, paths):
    from components.models.layer_groups import depths

    run(finetune=_changed(settings, freeze=2))
    before, after = read_tensors(paths.encoders / "vae.safetensors"), _encoder(paths, "vae-full-0")
    trunk = BACKBONE.build().trunk
    found = depths(trunk, by_stage=True)
    layers = {name.rpartition(".")[0]: depth for name, depth in found.items()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    frozen = {f"trunk.{name}" for name in trunk.state_dict() if layers[name.rpartition(".")[0]] <= 2}
    assert any("running_mean" in name for name in frozen) and not frozen & changed
    assert changed == {f"trunk.{name}" for name in trunk.state_dict()} - frozen


def test_freezing_too_much_is_refused_before_anything_is_learned(run, settings):
    from components.base.errors import SettingsError

    log = SilentLog()
    with pytest.raises(SettingsError, match=r"finetune.freeze = 9: expected at most 4"):
        run("vae", "lpft", log=log, finetune=_changed(settings, freeze=9))
    assert log.points == []


def test_learning_rates_fall_from_the_head_to_the_images(settings):
    from components.models.classifier import Classifier, build_head
    from components.training.conditions import Conditions, Phase
    from components.training.learner import build_learner

    encoder = BACKBONE.build()
    classifier = Classifier(encoder, build_head(encoder.feature_dim, 8, 0.2, 3, 0))
    plain = settings["finetune"].model_dump(exclude={"frozen", "full", "lpft", "head"}) | {"layer_decay": 0.5}
    phase = Phase("full", 2, 0.01)
    conditions = Conditions(CLASSES, [phase], hidden=8, dropout=0.2, augment=settings["augment"], **plain)
    learner = build_learner(classifier, phase, conditions, np.arange(3), 3)
    groups = learner.configure_optimizers()["optimizer"].param_groups
    rates = {id(weight): group["initial_lr"] for group in groups for weight in group["params"]}
    names = {name: rates[id(weight)] for name, weight in classifier.named_parameters()}
    assert {rate for name, rate in names.items() if name.startswith("head")} == {0.01}
    assert names["encoder.trunk.conv_stem.weight"] == pytest.approx(0.01 * 0.5**6)
    assert names["encoder.trunk.conv_head.weight"] == pytest.approx(0.01 * 0.5)


def test_drop_path_acts_where_a_net_has_residual_branches(run, settings, paths):
    from components.base.errors import SettingsError

    convnext = Timm(name="test_convnext")
    save_encoder(paths.encoders / "conv.safetensors", convnext.build(), convnext, {"arm": "conv"})
    dropping = _changed(settings, drop_path=0.5)
    results = [
        run("conv", backbone=convnext, finetune=each)["last"] for each in (settings["finetune"], dropping, dropping)
    ]
    assert results[0] != results[1] == results[2]
    assert run("conv", "frozen", backbone=convnext, finetune=dropping) == run("conv", "frozen", backbone=convnext)
    with pytest.raises(SettingsError, match=r"finetune.drop_path = 0.5: the backbone EfficientNet has no residual"):
        run(finetune=dropping)


def test_mixing_stands_in_the_fingerprint_of_what_is_mixed(run, settings):
    mixed, other = _changed(settings, mixup=0.4), _changed(settings, mixup=0.2)
    prints = [_prints(run(finetune=changed)) for changed in (settings["finetune"], mixed, other)]
    assert len({each["augmentation_sha256"] for each in prints}) == 3
    assert len({each["batches_sha256"] for each in prints}) == 1
    assert _prints(run("random", finetune=mixed)) == prints[1]
    assert run("vae", "frozen", finetune=mixed) == run("vae", "frozen")  # where the encoder learns nothing


def _slowly(self, _kept, epoch):
    """`Feed.features` as images, which then pass through the encoder at every step; draws by each image's row."""
    from components.models.encoder import to_tensor
    from components.training.loop import Epoch

    def draw(_step, rows, _first):
        images = self.train.pixels.take(rows)
        if self.conditions.views:
            pairs = zip(images, rows, strict=True)
            images = np.concatenate(
                [self.augmentation(i[None], epoch % self.conditions.views, int(r)) for i, r in pairs]
            )
        return to_tensor(images), torch.from_numpy(self.train.labels[rows])

    return Epoch(self.orders(epoch), draw)


@pytest.mark.parametrize("imbalance", ["none", "weights", "sampling", "focal"])
@pytest.mark.parametrize("views", [0, 2])
def test_kept_features_give_the_numbers_of_the_slow_way(run, settings, paths, monkeypatch, imbalance, views):
    from components.training.finetune_batches import Feed

    schedule = settings["finetune"].frozen.model_copy(update={"epochs": 3})
    changed = _changed(settings, frozen=schedule, views=views, imbalance=imbalance, monitor="accuracy", patience=9)
    fast, curve = run("vae", "frozen", finetune=changed), pd.read_csv(paths.curves / "finetune" / "vae-frozen-0.csv")
    weights = _weights(paths, "vae-frozen-0")
    monkeypatch.setattr(Feed, "features", _slowly)
    slow = run("vae", "frozen", finetune=changed)
    pd.testing.assert_frame_equal(curve, pd.read_csv(paths.curves / "finetune" / "vae-frozen-0.csv"), rtol=1e-5)
    assert _prints(slow) == _prints(fast)
    for name, value in _weights(paths, "vae-frozen-0").items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-3)  # Adam makes steps even of roundings


def test_features_of_a_view_are_those_of_its_images_one_by_one(settings, paths, params):
    from components.models.encoder import to_tensor
    from components.training.conditions import Conditions, Phase, read_examples
    from components.training.feature_cache import Kept
    from components.training.finetune_batches import Feed
    from components.training.loop import open_session

    train = read_examples(read_pixels(paths.pixels / "train"), CLASSES, "train")
    changed = _changed(settings, views=2).model_dump(exclude={"frozen", "full", "lpft", "head"})
    phase = Phase("frozen", 4, 0.01)
    conditions = Conditions(CLASSES, [phase], hidden=8, dropout=0.2, augment=params.augment, **changed)
    session = open_session("cpu", cpu=BACKBONE.cpu, seed=5, checkpoint=None, log=SilentLog())
    feed, encoder = Feed(train, conditions, seed=5), BACKBONE.build().eval()
    kept = Kept(encoder, session)
    for epoch in (0, 1, 3):
        rows = np.concatenate(feed.orders(epoch))
        found = torch.cat([features for features, _ in feed.features(kept, epoch)])
        for row, features in zip(rows, found, strict=True):
            image = feed.augmentation(train.pixels.take(np.array([row])), epoch % 2, int(row))
            with torch.no_grad():
                expected = encoder(to_tensor(image).float() / 255)[0]
            torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-6)
    assert len(kept.features) == 2


@pytest.mark.parametrize(("views", "passes"), [(0, 21 + 9 + 9), (2, 2 * 21 + 9 + 9), (None, 4 * 21 + 9 + 9)])
def test_each_view_passes_the_encoder_once(run, settings, monkeypatch, views, passes):
    from components.models.encoder import Encoder

    seen = []
    forward = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, images: seen.append(len(images)) or forward(self, images))
    schedule = settings["finetune"].frozen.model_copy(update={"epochs": 4})
    run("vae", "frozen", finetune=_changed(settings, frozen=schedule, views=views, patience=9))
    assert sum(seen) == passes


def test_epochs_go_through_the_views_in_turn(run, settings):
    """Views are drawn by epoch's number modulo theirs, so as many views as epochs differ from fewer."""
    schedule = settings["finetune"].frozen.model_copy(update={"epochs": 4})
    changed = {views: _changed(settings, frozen=schedule, views=views, patience=9) for views in (0, 1, 2, 4)}
    results = [run("vae", "frozen", finetune=each) for each in changed.values()]
    assert len({result["last"]["fit/loss"] for result in results}) == 4
    assert len({result["augmentation_sha256"] for result in results}) == 4
    assert len({result["first"]["fit/loss"] for result in results[1:]}) == 1  # the first view is the same


@pytest.mark.parametrize("views", [0, 2, None])
def test_an_interrupted_frozen_run_goes_on_to_the_same_classifier(run, settings, paths, monkeypatch, views):
    changed = _changed(settings, views=views, ema=0.7)
    expected = run("twin", "frozen", finetune=changed)
    monkeypatch.setattr(SilentLog, "track", _stop_in_second_epoch)
    with pytest.raises(KeyError, match="killed"):
        run("vae", "frozen", finetune=changed)
    monkeypatch.undo()
    assert run("vae", "frozen", finetune=changed) == expected
    weights, twin = _weights(paths, "vae-frozen-0"), _weights(paths, "twin-frozen-0")
    assert all(torch.equal(weights[key], twin[key]) for key in weights)


def _head_first(settings, head: dict, full: dict, **changes):
    lpft = settings["finetune"].lpft
    schedules = {
        name: getattr(lpft, name).model_copy(update=change) for name, change in {"head": head, "full": full}.items()
    }
    return _changed(settings, lpft=lpft.model_copy(update=schedules), **changes)


@pytest.mark.parametrize("views", [2, None])
def test_lpft_probes_like_frozen_and_then_moves_the_encoder(run, settings, paths, views):
    changed = _head_first(settings, {}, {"learning_rate": 0.003}, views=views, monitor="accuracy")
    probe = run("vae", "frozen", finetune=changed)
    log = SilentLog()
    metrics = run("vae", "lpft", log=log, finetune=changed)
    curves = {p: pd.read_csv(paths.curves / "finetune" / f"vae-{p}-0.csv") for p in ("frozen", "lpft")}
    pd.testing.assert_frame_equal(curves["lpft"].iloc[:2], curves["frozen"])
    assert metrics["epochs"] == 4 and list(curves["lpft"]["epoch"]) == [0, 1, 2, 3]
    assert [step for step, _ in log.points] == [0, 1, 2, 3]
    assert probe["head_init_sha256"] == metrics["head_init_sha256"]
    before, after = read_tensors(paths.encoders / "vae.safetensors"), _encoder(paths, "vae-lpft-0")
    moved = any(not torch.equal(before[name], after[name]) for name in before)
    assert moved == (metrics["best_epoch"] >= 2)
    assert metrics["best"]["val/accuracy"] == curves["lpft"]["val/accuracy"].max()


def test_lpft_begins_fine_tuning_at_the_best_probe(run, settings, paths):
    """At a learning rate of almost nothing the third epoch measures what the best probe did, but for BatchNorm."""
    from components.models.weights_file import read_tensors as read

    run(
        "vae",
        "lpft",
        finetune=_head_first(settings, {"learning_rate": 0.05}, {"learning_rate": 1e-12, "epochs": 1}, freeze=4),
    )
    curve = pd.read_csv(paths.curves / "finetune" / "vae-lpft-0.csv")
    best = curve["val/loss"].iloc[:2].min()
    assert curve["val/loss"].iloc[2] != best  # BatchNorm's statistics moved
    assert curve["val/loss"].iloc[2] == pytest.approx(best, rel=0.5)
    assert read(paths.classifiers / "vae-lpft-0.safetensors")


def test_lpft_keeps_the_probe_where_fine_tuning_only_spoils(run, settings, paths):
    changed = _head_first(settings, {}, {"learning_rate": 30.0})
    metrics = run("vae", "lpft", finetune=changed)
    assert metrics["best_epoch"] < 2
    before, after = read_tensors(paths.encoders / "vae.safetensors"), _encoder(paths, "vae-lpft-0")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("place", [", frozen, epoch 2", ", full, epoch 1", ", full, epoch 2"])
def test_an_interrupted_lpft_goes_on_to_the_same_classifier(run, settings, paths, monkeypatch, place):
    def stop(_self, items, _total, what):
        for number, item in enumerate(items):
            if place in what and number == 1:
                raise KeyError("killed")
            yield item

    changed = _changed(settings, views=2, ema=0.7, mixup=0.3)
    expected = run("twin", "lpft", finetune=changed)
    monkeypatch.setattr(SilentLog, "track", stop)
    with pytest.raises(KeyError, match="killed"):
        run("vae", "lpft", finetune=changed)
    monkeypatch.undo()
    log = SilentLog()
    assert run("vae", "lpft", finetune=changed, log=log) == expected
    assert any("going on after epoch" in line for line in log.lines)
    weights, twin = _weights(paths, "vae-lpft-0"), _weights(paths, "twin-lpft-0")
    assert all(torch.equal(weights[key], twin[key]) for key in weights)
    assert sorted({step for step, _ in log.points}) == [0, 1, 2, 3]
    assert not (paths.checkpoints / "finetune" / "vae-lpft-0").exists()


def test_arms_under_lpft_differ_in_the_encoder_alone(run):
    first, other = run("vae", "lpft"), run("random", "lpft")
    assert _prints(first) == _prints(other) and first["last"] != other["last"]
    assert run("twin", "lpft") == first
