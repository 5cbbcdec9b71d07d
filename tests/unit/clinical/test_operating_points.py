"""Thresholds from val and rates on test, against scikit-learn, naive counts and distributions with a known truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from components.base.json_data import plain
from components.clinical.operating_points import BinaryTask, mean_roc, measure_operating_points, rates, threshold
from components.statistics.weighting import unit_weights
from tests.unit.clinical.simulation import resampled

LEVELS = (0.5, 0.8, 0.9, 0.95, 1.0)


def _scores(seed: int, images: int = 300, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(images) < 0.3
    scores = rng.normal(size=images) + 1.5 * positive
    return (scores.round(1) if ties else scores), positive


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("ties", [False, True])
def test_no_threshold_of_scikit_learns_curve_is_better(level: float, ties: bool) -> None:
    for seed in range(5):
        scores, positive = _scores(seed, ties=ties)
        alarms, sensitivity, _ = roc_curve(positive, scores, drop_intermediate=False)
        chosen = scores >= threshold(scores, positive, "specificity", level)
        assert 1 - chosen[~positive].mean() >= level - 1e-9
        assert chosen[positive].mean() == pytest.approx(sensitivity[1 - alarms >= level - 1e-9].max())
        chosen = scores >= threshold(scores, positive, "sensitivity", level)
        assert chosen[positive].mean() >= level - 1e-9
        assert chosen[~positive].mean() == pytest.approx(alarms[sensitivity >= level - 1e-9].min())


@given(
    images=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30),
    fixed=st.sampled_from(["sensitivity", "specificity"]),
    level=st.floats(0.01, 1),
)
def test_a_threshold_read_from_json_decides_as_the_computed_one(
    images: list[tuple[float, bool]], fixed: str, level: float
) -> None:
    scores, positive = (np.array(column) for column in zip(*images, strict=True))
    own = positive if fixed == "sensitivity" else ~positive
    computed = threshold(scores, positive, fixed, level)
    stored = json.loads(json.dumps(plain({"threshold": computed})))["threshold"]
    if not own.any():
        assert stored is None
        return
    np.testing.assert_array_equal(scores >= stored, scores >= computed)
    assert ((scores >= stored) == positive)[own].mean() >= level - 1e-9


def test_a_share_that_counts_exactly_is_not_rounded_up() -> None:
    scores, positive = np.arange(20) / 20, np.arange(20) >= 10
    assert threshold(scores, positive, "specificity", 0.9) == np.nextafter(8 / 20, 1)  # 9 of 10 below
    assert threshold(scores, positive, "sensitivity", 0.9) == 11 / 20


def test_val_without_a_positive_knows_no_threshold_and_test_shows_none() -> None:
    scores, positive = _scores(0)
    nothing = np.zeros(300, bool)
    assert np.isnan(threshold(scores, nothing, "sensitivity", 0.9))
    task = BinaryTask("mel", scores[None], nothing, scores[None], positive)
    points = measure_operating_points(resampled(positive.astype(int), resamples=40), task, [0.9]).points
    assert [point.test["sensitivity"].known for point in points] == [True, False]


@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_scikit_learns_counts(seed: int) -> None:
    scores, positive = _scores(seed)
    weights = np.hstack([unit_weights(300), resampled(positive.astype(int), resamples=4).weights[:, 1:5]])
    called = scores >= np.array([[-0.5], [0.7]])
    found = rates(called, positive, weights)
    for p in range(2):
        for r in range(5):
            (tn, fp), (fn, tp) = confusion_matrix(positive, called[p], sample_weight=weights[:, r])
            expected = [tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn)]
            assert [found[name][p, r] for name in found] == pytest.approx(expected)


def test_nothing_called_has_no_predictive_value() -> None:
    found = rates(np.zeros((1, 4), bool), np.array([True, False, False, True]), unit_weights(4))
    assert np.isnan(found["ppv"][0, 0])
    assert [found["sensitivity"][0, 0], found["specificity"][0, 0], found["npv"][0, 0]] == [0, 1, 0.5]


def test_test_images_reach_what_normal_scores_must_and_choose_nothing() -> None:
    """Two normals 1.5 apart: at 90 % specificity the sensitivity is 1 - Phi(z_0.9 - 1.5)."""
    val, test = (_scores(seed, 8000) for seed in (1, 2))
    sample = resampled(test[1].astype(int), np.arange(8000) // 80, resamples=50)
    found = measure_operating_points(
        sample, BinaryTask("malignant", val[0][None], val[1], test[0][None], test[1]), [0.9]
    )
    assert found.points[0].test["sensitivity"].mean == pytest.approx(1 - norm.cdf(norm.ppf(0.9) - 1.5), abs=0.03)
    assert found.points[1].test["specificity"].mean == pytest.approx(norm.cdf(1.5 - norm.ppf(0.9)), abs=0.03)
    flipped = BinaryTask("malignant", val[0][None], val[1], -test[0][None], test[1])
    assert measure_operating_points(sample, flipped, [0.9]).points[0].thresholds == found.points[0].thresholds


def test_area_and_curve_are_scikit_learns() -> None:
    scores, positive = _scores(4)
    task = BinaryTask("malignant", scores[None], positive, scores[None], positive)
    found = measure_operating_points(resampled(positive.astype(int), resamples=60), task, [0.9])
    assert found.auroc.mean == pytest.approx(roc_auc_score(positive, scores))
    assert found.auroc.low < found.auroc.mean < found.auroc.high
    curve = np.array(found.roc)
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(found.auroc.mean, abs=0.01)
    assert curve[0, 1] == pytest.approx((scores[positive] > scores[~positive].max()).mean())
    assert curve[-1].tolist() == [1, 1]


def test_curves_of_seeds_are_averaged_upwards() -> None:
    positive = np.array([True] * 50 + [False] * 50)
    perfect, useless = np.where(positive, 1.0, 0.0), np.zeros(100)
    curve = np.array(mean_roc(BinaryTask("malignant", perfect[None], positive, np.stack([perfect, useless]), positive)))
    np.testing.assert_allclose(curve[:, 1], (1 + curve[:, 0]) / 2)


def test_positives_are_counted_by_lesion() -> None:
    scores, positive = _scores(5)
    groups = np.arange(300) // 3
    positive = np.repeat(positive[::3], 3)
    sample = resampled(positive.astype(int), groups, resamples=20)
    task = BinaryTask("malignant", scores[None], positive, scores[None], positive)
    assert measure_operating_points(sample, task, [0.9]).positives == positive.sum() // 3
