"""Every metric against scikit-learn or a naive loop, on ties, missing classes and two or seven classes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from components.statistics.metrics import all_scalars, metrics
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.metrics.sensitivity import sensitivity
from components.statistics.metrics.specificity import specificity


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores)
    return powers / powers.sum(1, keepdims=True)


def _predictions(classes: int, missing: int | None, ties: bool, count: int = 120) -> tuple:
    rng = np.random.default_rng((classes, 0 if missing is None else 1, ties))
    labels = rng.integers(0, classes, count)
    if missing is not None:
        labels[labels == missing] = (missing + 1) % classes
    scores = rng.normal(size=(count, classes)) + 1.2 * np.eye(classes)[labels]
    return labels, _softmax(scores.round(0) if ties else scores)


CASES = {
    "binary": (2, None, False),
    "binary with ties": (2, None, True),
    "seven": (7, None, False),
    "seven with ties": (7, None, True),
    "first of seven missing": (7, 0, False),
    "last of seven missing, ties": (7, 6, True),
}
cases = pytest.mark.parametrize(
    ("labels", "probabilities"), [_predictions(*case) for case in CASES.values()], ids=list(CASES)
)


def _sklearn(name: str, labels: np.ndarray, probabilities: np.ndarray) -> object:
    from sklearn import metrics as sk

    predicted, classes = probabilities.argmax(1), np.arange(probabilities.shape[1])
    cells = sk.multilabel_confusion_matrix(labels, predicted, labels=classes)  # (K, 2, 2)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")  # of classes without images
        return {
            "accuracy": lambda: sk.accuracy_score(labels, predicted),
            "balanced_accuracy": lambda: sk.balanced_accuracy_score(labels, predicted),
            "confusion_matrix": lambda: sk.confusion_matrix(labels, predicted, labels=classes),
            "log_loss": lambda: sk.log_loss(labels, probabilities, labels=classes),
            "macro_auroc": lambda: np.mean(
                [sk.roc_auc_score(labels == k, probabilities[:, k]) for k in classes if (labels == k).any()]
            ),
            "sensitivity": lambda: cells[:, 1, 1] / cells[:, 1].sum(1),
            "specificity": lambda: cells[:, 0, 0] / cells[:, 0].sum(1),
            "expected_calibration_error": lambda: _naive_calibration(labels, probabilities, 15),
        }[name]()


def _naive_calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> float:
    total = 0.0
    for b in range(bins):
        inside = [i for i, p in enumerate(probabilities) if b / bins < p.max() <= (b + 1) / bins]
        if inside:
            accuracy = np.mean([probabilities[i].argmax() == labels[i] for i in inside])
            confidence = np.mean([probabilities[i].max() for i in inside])
            total += len(inside) / len(labels) * abs(accuracy - confidence)
    return total


def test_the_folder_has_metrics():
    assert len(metrics()) >= 8


@cases
@pytest.mark.parametrize("name", metrics())
def test_metric_equals_its_oracle(name, labels, probabilities):
    result = metrics()[name](labels, probabilities)
    np.testing.assert_allclose(result, _sklearn(name, labels, probabilities), rtol=0, atol=1e-9)


@cases
@pytest.mark.parametrize("name", metrics())
def test_metric_does_not_depend_on_the_order_of_images(name, labels, probabilities):
    order = np.random.default_rng(0).permutation(len(labels))
    function = metrics()[name]
    np.testing.assert_allclose(
        function(labels, probabilities), function(labels[order], probabilities[order]), atol=1e-12
    )


@pytest.mark.parametrize("name", metrics())
def test_metric_states_its_range_and_its_source_is_documented(name):
    assert metrics()[name].__doc__


def test_sure_and_right_is_perfect():
    labels = np.array([0, 1, 2, 1])
    perfect = all_scalars(labels, np.eye(3)[labels])
    losses = {"log_loss", "expected_calibration_error"}
    assert {"accuracy", "balanced_accuracy", "macro_auroc", *losses} <= set(perfect)
    for name, value in perfect.items():
        assert value == pytest.approx(0 if name in losses else 1, abs=1e-12)


def test_saying_the_same_of_all_images_is_chance():
    labels = np.arange(60) % 3
    chance = all_scalars(labels, np.full((60, 3), 1 / 3))
    assert chance["macro_auroc"] == 0.5
    assert chance["balanced_accuracy"] == pytest.approx(1 / 3)
    assert chance["log_loss"] == pytest.approx(np.log(3))


def test_a_sure_mistake_costs_a_finite_loss():
    assert all_scalars(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))["log_loss"] == pytest.approx(
        18.02, abs=0.01
    )


def test_calibration_error_of_known_bins():
    """Confidence 0.9 and right in 3 of 4: 0.15; confidence 0.6 and right in 1 of 2: 0.1; weights 4 and 2."""
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2)
    labels = np.array([0, 0, 0, 1, 0, 1])
    value = metrics()["expected_calibration_error"](labels, probabilities, bins=10)
    assert value == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)


def test_one_class_alone_ranks_nothing():
    labels, probabilities = np.zeros(5, dtype=int), np.full((5, 2), 0.5)
    assert macro_auroc(labels, probabilities) == 0.5
    np.testing.assert_array_equal(sensitivity(labels, probabilities), [1, np.nan])
    np.testing.assert_array_equal(specificity(labels, probabilities), [np.nan, 1])
