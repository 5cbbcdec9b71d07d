"""Which metrics the stage evaluate writes of a run: those that the setting names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn import metrics as sk

from components.comparison.settings import COMPARED_METRICS, Evaluate
from flows.evaluate import measure_run
from flows.settings import load_settings

CLASSES = ("bkl", "mel", "nv")


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Sixty test images, and val images whose probabilities would change every metric."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"split": ["test"] * 60 + ["val"] * 40, "label": rng.choice(CLASSES, 100)})
    p = rng.dirichlet(np.ones(3), 100)
    return table.assign(**{f"p_{name}": p[:, k] for k, name in enumerate(CLASSES)})


def _settings(*metrics: str) -> Evaluate:
    return Evaluate(metrics=metrics, calibration_bins=5)


def test_the_metrics_of_the_setting_are_written_in_its_order(predictions: pd.DataFrame) -> None:
    names = ("log_loss", "expected_calibration_error", "accuracy", "balanced_accuracy")
    found = measure_run(predictions, CLASSES, _settings(*names))
    assert list(found) == ["log_loss", "ece", "accuracy", "balanced_accuracy", "sensitivity", "specificity"]
    test = predictions[predictions["split"] == "test"]
    p = test[[f"p_{name}" for name in CLASSES]].to_numpy()
    answers = np.array(CLASSES)[p.argmax(1)]
    assert found["accuracy"] == sk.accuracy_score(test["label"], answers)
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(test["label"], answers))
    assert found["log_loss"] == pytest.approx(sk.log_loss(test["label"], p, labels=list(CLASSES)))
    recalls = sk.recall_score(test["label"], answers, average=None, labels=list(CLASSES))
    assert found["sensitivity"] == pytest.approx(dict(zip(CLASSES, recalls, strict=True)))


def test_the_calibration_error_has_the_bins_of_the_setting(predictions: pd.DataFrame) -> None:
    one, many = (
        measure_run(predictions, CLASSES, Evaluate(metrics=COMPARED_METRICS, calibration_bins=bins))["ece"]
        for bins in (1, 15)
    )
    test = predictions[predictions["split"] == "test"]
    p = test[[f"p_{name}" for name in CLASSES]].to_numpy()
    right = np.array(CLASSES)[p.argmax(1)] == test["label"]
    assert one == pytest.approx(abs(right.mean() - p.max(1).mean()))
    assert many > one


def test_the_active_experiment_writes_what_model_card_and_comparison_show(
    repo: Path, predictions: pd.DataFrame
) -> None:
    settings = load_settings(repo / "params.yaml").evaluate
    assert list(measure_run(predictions, CLASSES, settings)) == [
        "balanced_accuracy", "accuracy", "macro_auroc", "ece", "log_loss", "sensitivity", "specificity",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (("accuracy",), "lacks balanced_accuracy, expected_calibration_error, which the comparison of arms needs"),
        ((*COMPARED_METRICS, "accuracy"), "expected each value once, accuracy is there twice"),
        ((*COMPARED_METRICS, "f2"), "'f2' is no file in components/statistics/metrics, expected one of accuracy"),
    ],
)
def test_a_list_of_metrics_that_cannot_be_used_is_refused(metrics: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _settings(*metrics)
