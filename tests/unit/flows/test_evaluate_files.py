"""The files that the stage evaluate writes: predictions and metrics of each run."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from components.base.errors import CheckpointError
from components.base.log import SilentLog
from components.comparison.settings import Evaluate
from components.data.pixels import read_pixels, write_pixels
from flows.evaluate import evaluate
from flows.stage_io.protocol import read_openings
from tests.unit.flows.small_finetuning import BACKBONE, CLASSES, SIZE

METRICS = ("balanced_accuracy", "accuracy", "macro_auroc", "expected_calibration_error", "log_loss")


EVALUATE = Evaluate(metrics=METRICS, calibration_bins=5)


@pytest.fixture
def evaluated(run, paths, params, labels):
    """Two runs, evaluated; gives a function that evaluates again."""
    study = params.study.model_copy(
        update={"arms": ("vae", "random"), "protocols": ("frozen",), "seeds": (0,), "reference": "vae"}
    )
    for arm in study.arms:
        run(arm, "frozen")

    def again(log=None, **changes):
        given = {
            "study": study,
            "dataset": params.dataset,
            "labels": labels,
            "backbone": BACKBONE,
            "evaluate": EVALUATE,
        }
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


def test_an_opening_of_test_images_is_counted_once_for_the_same_models_and_not_for_drawings(
    evaluated, run, params, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    real = params.dataset.model_construct(kind="folder")
    evaluated()
    assert read_openings() == []  # drawings
    evaluated(dataset=real)
    evaluated(dataset=real)
    (first,) = read_openings()
    assert first.what == "2 models: vae, random; frozen; seeds 0"
    one = params.study.model_copy(
        update={"arms": ("random",), "protocols": ("frozen",), "seeds": (0,), "reference": "random"}
    )
    evaluated(dataset=real, study=one)
    assert [each.images for each in read_openings()] == [first.images] * 2
    assert read_openings()[1].models != first.models


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
