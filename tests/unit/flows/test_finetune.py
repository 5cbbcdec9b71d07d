"""The stage finetune: the same conditions for all arms, and the files that it writes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from components.base.errors import CheckpointError, DataError, TrainingError
from components.base.log import SilentLog
from components.data.labels import Labels
from components.data.pixels import read_pixels, write_pixels
from components.models.classifier import predict
from components.models.classifier_file import load_classifier
from components.models.encoder import to_tensor
from components.models.weights_file import read_header, read_tensors
from components.statistics.metrics.log_loss import log_loss
from components.statistics.runs import FINGERPRINTS
from tests.unit.flows.small_finetuning import BACKBONE, CLASSES, SIZE, fingerprints, stop_in_second_epoch


@pytest.mark.parametrize("protocol", ["frozen", "full"])
def test_arms_with_equal_encoders_end_equal_to_the_last_bit(run, paths, protocol):
    first, twin = run("vae", protocol), run("twin", protocol)
    assert first == twin
    weights, copy = (read_tensors(paths.classifiers / f"{arm}-{protocol}-0.safetensors") for arm in ("vae", "twin"))
    assert weights.keys() == copy.keys() and all(torch.equal(weights[name], copy[name]) for name in weights)


def test_arms_with_other_encoders_differ_in_nothing_else(run):
    first, other = run("vae"), run("random")
    assert fingerprints(first) == fingerprints(other)
    assert first["last"] != other["last"]


def test_another_seed_changes_head_batches_and_augmentation_but_not_the_images(run):
    first, other = fingerprints(run(seed=0)), fingerprints(run(seed=1))
    assert {name for name in FINGERPRINTS if first[name] == other[name]} == {
        "settings_sha256", "train_index_sha256", "val_index_sha256", "computation_sha256", "code_sha256",
    }  # fmt: skip


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
    assert list(curve["epoch"]) == [1, 2] and metrics["epochs"] == 2
    rows = curve.drop(columns="epoch").to_dict("records")
    assert metrics["best_epoch"] == curve.set_index("epoch")["val/loss"].idxmin()
    for name, row in {"first": rows[0], "last": rows[1], "best": rows[metrics["best_epoch"] - 1]}.items():
        assert metrics[name] == pytest.approx(row)
    assert [step for step, _ in log.points] == [1, 2]
    json.dumps(metrics, allow_nan=False)


@pytest.mark.parametrize("protocol", ["frozen", "full", "lpft"])
def test_the_means_over_the_images_are_the_curve(run, paths, protocol):
    run(protocol=protocol)
    curve = pd.read_csv(paths.curves / "finetune" / f"vae-{protocol}-0.csv")
    images = pd.read_parquet(paths.epoch_losses / f"vae-{protocol}-0.parquet")
    assert list(images) == ["image_id", "group", "split", "label", "loss", "predicted"]
    for split in ("train", "val"):
        own = images[images["split"] == split]
        losses, predicted = np.stack(own["loss"]), np.stack(own["predicted"])  # (N, E)
        right = predicted == own["label"].map(CLASSES.index).to_numpy()[:, None]
        assert losses.dtype == np.float32 and losses.shape == (len(own), len(curve))
        assert losses.mean(0, dtype=float) == pytest.approx(curve[f"{split}/loss"], rel=1e-6)
        assert right.mean(0) == pytest.approx(curve[f"{split}/accuracy"], abs=1e-6)
        by_class = [right[own["label"].to_numpy() == name].mean(0) for name in CLASSES]
        assert np.mean(by_class, axis=0) == pytest.approx(curve[f"{split}/balanced_accuracy"], abs=1e-6)


def test_a_frozen_encoder_is_saved_as_it_came(run, paths):
    run(protocol="frozen")
    before = read_tensors(paths.encoders / "vae-0.safetensors")
    after = read_tensors(paths.classifiers / "vae-frozen-0.safetensors")
    assert all(torch.equal(after[f"encoder.{name}"], value) for name, value in before.items())


def test_the_saved_classifier_is_the_one_of_the_best_epoch(run, paths, labels):
    """Its val loss, computed again, is the best of the curve."""
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


def test_a_split_of_one_class_names_what_to_change(run, paths):
    index = pd.DataFrame({"image_id": ["a"], "label": ["benign"], "lesion_id": ["a"], "group": ["a"]})
    write_pixels(paths.pixels / "val", np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8), index, SIZE)
    with pytest.raises(TrainingError, match=r"val has 1 images of classes \['benign'\], expected at least two"):
        run()


def test_a_resume_state_of_other_settings_names_the_key_of_params(run, settings, paths, monkeypatch):
    """The second epoch is interrupted; then a setting changes."""
    monkeypatch.setattr(SilentLog, "track", stop_in_second_epoch)
    with pytest.raises(KeyError, match="killed"):
        run()
    monkeypatch.undo()
    assert (paths.checkpoints / "finetune" / "vae-full-0" / "last.ckpt").is_file()
    changed = settings["finetune"].model_copy(update={"weight_decay": 0.5})
    with pytest.raises(CheckpointError, match=r"finetune.weight_decay = 0.05, but now it is 0.5"):
        run(finetune=changed)


def test_an_interrupted_run_goes_on_to_the_same_classifier(run, paths, monkeypatch):
    expected = run("twin")
    monkeypatch.setattr(SilentLog, "track", stop_in_second_epoch)
    with pytest.raises(KeyError, match="killed"):
        run()
    monkeypatch.undo()
    log = SilentLog()
    assert run(log=log) == expected
    assert "vae-full-0: continuing after epoch 1 of 2" in log.lines
    weights, twin = (read_tensors(paths.classifiers / f"{arm}-full-0.safetensors") for arm in ("vae", "twin"))
    assert all(torch.equal(weights[name], twin[name]) for name in weights)
    by_image = [(paths.epoch_losses / f"{arm}-full-0.parquet").read_bytes() for arm in ("vae", "twin")]
    assert by_image[0] == by_image[1]
    assert not (paths.checkpoints / "finetune" / "vae-full-0").exists()


def test_alarms_of_the_pretraining_reach_the_run(run):
    assert [run(arm)["alarms"] for arm in ("random", "vae")] == [["dead decoder: 3 %"], []]
