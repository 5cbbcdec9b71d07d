"""Contract of every metric: against scikit-learn or a naive loop, weighted or not, with ties and missing classes."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from components.base.errors import SettingsError
from components.base.families import members
from components.statistics import bootstrap
from components.statistics.metrics import FAMILY, load_metric, macro_auroc, measure_scalars
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.expected_calibration_error import expected_calibration_error
from components.statistics.metrics.log_loss import log_loss
from components.statistics.metrics.sensitivity import sensitivity
from components.statistics.metrics.specificity import specificity
from components.statistics.weighting import unit_weights

NAMES = members(FAMILY)
SCALARS = ("accuracy", "balanced_accuracy", "expected_calibration_error", "log_loss", "macro_auroc")


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
    "nine with ties": (9, None, True),
    "first of seven missing": (7, 0, False),
    "last of seven missing, ties": (7, 6, True),
    "third of nine missing": (9, 2, False),
}
cases = pytest.mark.parametrize(
    ("labels", "probabilities"), [_predictions(*case) for case in CASES.values()], ids=list(CASES)
)
every_metric = pytest.mark.parametrize("name", NAMES)


WITH_ORACLE = (*SCALARS, "confusion_matrix", "sensitivity", "specificity")
"""Metrics that another library, or a naive loop, computes too."""


def _oracle(name: str, labels: np.ndarray, probabilities: np.ndarray) -> object:
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
            right = np.mean([probabilities[i].argmax() == labels[i] for i in inside])
            confidence = np.mean([probabilities[i].max() for i in inside])
            total += len(inside) / len(labels) * abs(right - confidence)
    return total


# --- every metric of the folder


def test_the_folder_has_metrics():
    assert len(WITH_ORACLE) == 8
    assert set(WITH_ORACLE) <= set(NAMES)


@cases
@every_metric
def test_metric_equals_its_oracle(name, labels, probabilities):
    if name not in WITH_ORACLE:
        pytest.skip(f"no other implementation of {name} is known here: add one to _oracle")
    result = load_metric(name)(labels, probabilities)
    np.testing.assert_allclose(result, _oracle(name, labels, probabilities), rtol=0, atol=1e-9)


@cases
@every_metric
def test_metric_does_not_depend_on_the_order_of_images(name, labels, probabilities):
    order = np.random.default_rng(0).permutation(len(labels))
    metric = load_metric(name)
    np.testing.assert_allclose(metric(labels, probabilities), metric(labels[order], probabilities[order]), atol=1e-12)


@every_metric
def test_metric_states_its_range_and_is_named_as_its_file(name):
    assert load_metric(name).__name__ == name
    assert load_metric(name).__doc__


@cases
@every_metric
def test_weights_of_one_are_no_weights(name, labels, probabilities):
    metric = load_metric(name)
    weighted, plain = metric(labels, probabilities, unit_weights(len(labels))), metric(labels, probabilities)
    assert weighted.shape == (*np.shape(plain), 1)
    np.testing.assert_array_equal(weighted[..., 0], plain)  # the same bits
    assert isinstance(plain, float) == (np.ndim(plain) == 0)
    if name in WITH_ORACLE:
        assert isinstance(plain, float) == (name in SCALARS)


@cases
@every_metric
@pytest.mark.parametrize("resamples", [3, 20])  # few and many: areas are counted in two ways
def test_weighted_metric_is_that_of_repeated_images(name, labels, probabilities, resamples):
    groups = np.sort(np.random.default_rng(1).integers(0, len(labels) // 2, len(labels))).astype(str)
    weights = bootstrap.resample_groups(groups, resamples, np.random.default_rng(0))
    found = load_metric(name)(labels, probabilities, weights)
    for r in range(resamples):
        drawn = np.repeat(np.arange(len(labels)), weights[:, r].astype(int))  # naive: the resample as a list
        expected = load_metric(name)(labels[drawn], probabilities[drawn])
        np.testing.assert_allclose(found[..., r], expected, rtol=0, atol=1e-12)


def test_one_of_the_named_is_unknown():
    with pytest.raises(SettingsError, match=r"'accurracy' is no file in components/statistics/metrics.*accuracy"):
        measure_scalars(["accuracy", "accurracy"], *_predictions(3, None, False))


def test_a_metric_of_each_class_is_no_single_number():
    with pytest.raises(SettingsError, match=r"'sensitivity' gives an array \(3,\), expected a metric that is one"):
        measure_scalars(["sensitivity"], *_predictions(3, None, False))


def test_a_metric_that_is_undefined_is_left_out():
    found = measure_scalars(["macro_auroc", "accuracy"], np.zeros(5, dtype=int), np.full((5, 2), 0.5))
    assert found == {"accuracy": 1.0}  # JSON has no NaN


def test_the_named_metrics_come_in_the_order_given():
    labels, p = _predictions(3, None, False)
    assert measure_scalars(["log_loss", "accuracy"], labels, p) == {
        "log_loss": log_loss(labels, p),
        "accuracy": accuracy(labels, p),
    }
    assert list(measure_scalars(["log_loss", "accuracy"], labels, p)) == ["log_loss", "accuracy"]


# --- exact values: training curves hold these three, and their bits choose the best epoch


def _exact_area(labels: np.ndarray, scores: np.ndarray) -> float | None:
    own, others = scores[labels], scores[~labels]
    if not len(own) or not len(others):
        return None
    halves = sum(2 * int(x > y) + int(x == y) for x in own for y in others)
    return float(Fraction(halves, 2 * len(own) * len(others)))  # correctly rounded


@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 60), st.booleans())
def test_accuracy_balanced_accuracy_and_auroc_are_exact_quotients(seed, classes, images, ties):
    rng = np.random.default_rng(seed)
    labels = rng.choice(rng.integers(0, classes, 4), images)  # most classes are missing when there are many
    scores = rng.normal(size=(images, classes))
    p = _softmax(scores.round(0) if ties else scores)
    right = [bool(row.argmax() == label) for row, label in zip(p, labels, strict=True)]
    assert accuracy(labels, p) == float(Fraction(sum(right), images))
    shares = [
        float(Fraction(sum(r for r, label in zip(right, labels, strict=True) if label == k), int((labels == k).sum())))
        for k in range(classes)
        if (labels == k).any()
    ]
    assert balanced_accuracy(labels, p) == float(np.mean(shares))
    areas = [_exact_area(labels == k, p[:, k]) for k in range(classes)]
    known = [area for area in areas if area is not None]
    np.testing.assert_array_equal(macro_auroc.macro_auroc(labels, p), np.mean(known) if known else np.nan)


@pytest.mark.parametrize("classes", [2, 7, 8, 9, 16])
def test_means_over_classes_are_numpys_to_the_bit(classes):
    labels, p = np.arange(400) % classes, np.random.default_rng(classes).dirichlet(np.ones(classes), 400)
    assert balanced_accuracy(labels, p) == float(np.mean(sensitivity(labels, p)))


def test_both_ways_of_counting_pairs_give_the_same_bits():
    rng = np.random.default_rng(2)
    scores, positive = rng.normal(size=300).round(1), rng.random(300) < 0.2
    weights = rng.integers(0, 5, (300, 40)).astype(np.float32)
    many = macro_auroc.auroc(positive, scores, weights)
    few = [macro_auroc.auroc(positive, scores, weights[:, [r]])[0] for r in range(40)]
    np.testing.assert_array_equal(many, few)


# --- known values and edges


def test_weighted_auroc_and_log_loss_are_scikit_learns() -> None:
    labels, p = _predictions(3, None, True)
    weights = bootstrap.resample_groups(np.arange(120) // 2, 5, np.random.default_rng(0))
    for r in range(5):
        weight = weights[:, r].astype(float)
        one_class = roc_auc_score(labels == 1, p[:, 1], sample_weight=weight)
        assert macro_auroc.auroc(labels == 1, p[:, 1], weights)[r] == pytest.approx(one_class)
        loss = sklearn_log_loss(labels, p, sample_weight=weight, labels=[0, 1, 2])
        assert log_loss(labels, p, weights)[r] == pytest.approx(loss, rel=1e-5)


def test_sure_and_right_is_perfect():
    labels = np.array([0, 1, 2, 1])
    perfect = measure_scalars(SCALARS, labels, np.eye(3)[labels])
    losses = {"log_loss", "expected_calibration_error"}
    assert {"accuracy", "balanced_accuracy", "macro_auroc", *losses} <= set(perfect)
    for name, value in perfect.items():
        assert value == pytest.approx(0 if name in losses else 1, abs=1e-12)


def test_equal_probabilities_of_all_images_are_chance():
    labels = np.arange(60) % 3
    chance = measure_scalars(SCALARS, labels, np.full((60, 3), 1 / 3))
    assert chance["macro_auroc"] == 0.5
    assert chance["balanced_accuracy"] == pytest.approx(1 / 3)
    assert chance["log_loss"] == pytest.approx(np.log(3))


def test_a_certain_error_costs_a_finite_loss():
    labels, p = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])
    assert log_loss(labels, p) == pytest.approx(708.4 / 2, abs=0.01)
    assert log_loss(labels[1:], p[1:]) == 0.0


@pytest.mark.parametrize("gap", [0.1, 5.0, 30.0, 100.0, 700.0])  # nats between the logits of both classes
def test_loss_is_torchs_cross_entropy_however_wrong_a_model_is(gap):
    logits = torch.tensor([[gap, 0.0], [0.0, gap / 7]], dtype=torch.float64)
    labels = np.array([1, 1])
    p = logits.softmax(1).numpy()
    found = log_loss(labels, p)
    assert found == pytest.approx(float(torch.nn.functional.cross_entropy(logits, torch.tensor(labels))), rel=1e-12)
    scikit_learns = sklearn_log_loss(labels, p, labels=[0, 1])
    if gap < 36:  # there scikit-learn clips
        assert found == pytest.approx(scikit_learns, rel=1e-12)
    else:
        assert found > scikit_learns


def test_calibration_error_of_known_bins():
    """Confidence 0.9 and right in 3 of 4: 0.15; confidence 0.6 and right in 1 of 2: 0.1; weights 4 and 2."""
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2)
    labels = np.array([0, 0, 0, 1, 0, 1])
    value = expected_calibration_error(labels, probabilities, bins=10)
    assert value == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)


def test_one_class_alone_ranks_nothing():
    labels, probabilities = np.zeros(5, dtype=int), np.full((5, 2), 0.5)
    assert np.isnan(macro_auroc.macro_auroc(labels, probabilities))
    np.testing.assert_array_equal(sensitivity(labels, probabilities), [1, np.nan])
    np.testing.assert_array_equal(specificity(labels, probabilities), [np.nan, 1])


def test_a_class_that_a_resample_lacks_is_left_out_of_its_means() -> None:
    labels, p = np.array([0, 0, 1]), np.eye(3)[[0, 1, 1]] * 0.8 + 0.2 / 3
    weights = np.array([[1, 1], [1, 1], [1, 0]], np.float32)  # the second lacks class 1, both lack class 2
    assert balanced_accuracy(labels, p, weights) == pytest.approx([0.75, 0.5])
    by_class = sensitivity(labels, p, weights)
    assert np.isnan(by_class).tolist() == [[False, False], [False, True], [True, True]]
    assert np.isnan(macro_auroc.macro_auroc(labels, p, weights)).tolist() == [False, True]
