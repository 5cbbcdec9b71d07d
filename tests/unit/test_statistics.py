"""Intervals and weighted metrics against closed forms, scipy, scikit-learn, naive loops and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from components import metrics, statistics
from components.statistics import Interval

METRICS = ["balanced_accuracy", "accuracy", "log_loss", "macro_auroc"]


def _draw(seed: int, images: int = 60, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    p = rng.dirichlet(np.ones(classes), images).round(1) + 1e-3  # rounded: many ties
    groups = np.sort(rng.integers(0, images // 2, images)).astype(str)
    return labels, p / p.sum(1, keepdims=True), groups


@given(arrays(float, st.integers(2, 8), elements=st.floats(-5, 5)), st.floats(0.6, 0.99))
def test_interval_over_seeds_is_scipys_t_interval(values: np.ndarray, confidence: float) -> None:
    found = statistics.student_interval(values, confidence)
    spread = stats.sem(values)
    expected = stats.t.interval(confidence, len(values) - 1, values.mean(), spread) if spread else (values.mean(),) * 2
    np.testing.assert_allclose([found.low, found.high], expected, atol=1e-9)


def test_one_seed_has_no_interval() -> None:
    found = statistics.student_interval(np.array([0.7]), 0.95)
    assert found == Interval(0.7, -np.inf, np.inf)
    assert not found.known


@pytest.mark.parametrize(
    ("first", "last", "percent"),
    [(0.45, 0.65, 44.44), (0.165, 0.110, -33.33), (0.12, 0.10, -16.67), (0.58, 0.87, 50.0), (0.63, 0.75, 19.05)],
)
def test_relative_changes_are_the_papers(first: float, last: float, percent: float) -> None:
    assert round(100 * statistics.relative_change(first, last), 2) == percent


def test_relative_change_from_zero_is_not_known() -> None:
    assert np.isnan(statistics.relative_change(0.0, 0.5))


def test_a_resample_takes_or_leaves_whole_lesions() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    weights = statistics.resample_groups(groups, 50, np.random.default_rng(0))
    assert weights.shape == (6, 50)
    for name in "abc":
        rows = weights[groups == name]
        assert (rows == rows[0]).all()
    assert (weights[[0, 1, 3]].sum(0) == 3).all()  # one image of each lesion: as many lesions as there are


@pytest.mark.parametrize("name", METRICS)
def test_metrics_with_weights_of_one_are_those_of_components_metrics(name: str) -> None:
    labels, p, _ = _draw(1)
    found = getattr(statistics, name)(labels, p, statistics.once(len(p)))
    assert found[0] == pytest.approx(metrics.metrics()[name](labels, p), abs=1e-6)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("seed", range(4))
def test_weighted_metrics_are_those_of_repeated_images(name: str, seed: int) -> None:
    labels, p, groups = _draw(seed)
    weights = statistics.resample_groups(groups, 20, np.random.default_rng(seed))
    found = getattr(statistics, name)(labels, p, weights)
    for r in range(20):
        drawn = np.repeat(np.arange(len(labels)), weights[:, r].astype(int))  # naive: the resample as a list
        assert found[r] == pytest.approx(metrics.metrics()[name](labels[drawn], p[drawn]), abs=1e-6)


def test_weighted_auroc_and_log_loss_are_scikit_learns() -> None:
    labels, p, groups = _draw(3)
    weights = statistics.resample_groups(groups, 5, np.random.default_rng(0))
    for r in range(5):
        weight = weights[:, r].astype(float)
        one_class = roc_auc_score(labels == 1, p[:, 1], sample_weight=weight)
        assert statistics._auroc(labels == 1, p[:, 1], weights)[r] == pytest.approx(one_class)
        loss = sklearn_log_loss(labels, p, sample_weight=weight, labels=[0, 1, 2])
        assert statistics.log_loss(labels, p, weights)[r] == pytest.approx(loss, rel=1e-5)


def test_a_class_that_a_resample_lacks_is_left_out_of_its_means() -> None:
    labels, p = np.array([0, 0, 1]), np.eye(3)[[0, 1, 1]] * 0.8 + 0.2 / 3
    weights = np.array([[1, 1], [1, 1], [1, 0]], np.float32)  # the second lacks class 1, both lack class 2
    assert statistics.balanced_accuracy(labels, p, weights) == pytest.approx([0.75, 0.5])
    sensitivities = statistics.sensitivities(labels, p, weights)
    assert np.isnan(sensitivities).tolist() == [[False, False], [False, True], [True, True]]
    assert np.isnan(statistics.macro_auroc(labels, p, weights)).tolist() == [False, True]


def test_bootstrap_of_single_images_is_scipys() -> None:
    rng = np.random.default_rng(5)
    labels, p = rng.integers(0, 2, 150), rng.dirichlet([1, 1], 150)
    weights = statistics.resample_groups(np.arange(150), 4000, np.random.default_rng(0))
    draws = statistics.accuracy(labels, p, weights)
    found = statistics.percentile_interval(0.5, draws, 0.9)
    right = (p.argmax(1) == labels).astype(float)
    scipys = stats.bootstrap((right,), np.mean, n_resamples=4000, confidence_level=0.9, method="percentile", rng=1)
    expected = scipys.confidence_interval
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=0.012)
    assert draws.std() == pytest.approx(np.sqrt(right.mean() * (1 - right.mean()) / 150), rel=0.05)  # closed form


def test_copies_of_an_image_make_nothing_surer() -> None:
    labels, p, _ = _draw(7, images=80)
    draws = []
    for copies in (1, 4):
        groups = np.repeat(np.arange(80), copies)
        weights = statistics.resample_groups(groups, 300, np.random.default_rng(0))
        draws.append(statistics.balanced_accuracy(labels.repeat(copies), p.repeat(copies, axis=0), weights))
    np.testing.assert_allclose(draws[0], draws[1], rtol=1e-6)


def test_equal_lesions_leave_students_interval() -> None:
    by_seed = np.array([0.70, 0.74, 0.71])
    draws = statistics.seed_draws(3, 4000, np.random.default_rng(0))
    sample = statistics.two_level(np.tile(by_seed[:, None], 4000), draws)
    found = statistics.percentile_interval(by_seed.mean(), sample, 0.95)
    expected = statistics.student_interval(by_seed, 0.95)
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], rel=0.002)


def test_equal_seeds_leave_the_lesion_bootstrap() -> None:
    resampled = np.random.default_rng(0).normal(size=500)
    draws = statistics.seed_draws(4, 500, np.random.default_rng(1))
    np.testing.assert_allclose(statistics.two_level(np.tile(resampled, (4, 1)), draws), resampled)


def test_one_seed_leaves_the_lesion_bootstrap() -> None:
    resampled = np.random.default_rng(0).normal(size=(1, 50))
    draws = statistics.seed_draws(1, 50, np.random.default_rng(1))
    np.testing.assert_array_equal(statistics.two_level(resampled, draws), resampled[0])


def test_intervals_stay_in_bounds_and_ignore_what_is_not_known() -> None:
    draws = np.array([-0.5, 0.2, np.nan, 1.5] * 30)
    assert statistics.percentile_interval(0.4, draws, 0.95, (0.0, 1.0)) == Interval(0.4, 0.0, 1.0)
    assert not statistics.percentile_interval(np.nan, np.full(9, np.nan), 0.95).known


def _simulate(rng: np.random.Generator, seed_spread: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """A metric of three seeds on resampled lesions, (3, R), and the draws; the truth is zero."""
    lesions, resamples = 60, 250
    groups = np.repeat(np.arange(lesions), 2)
    by_lesion = np.repeat(rng.normal(size=lesions), 2) * 0.8 * noise
    values = seed_spread * rng.normal(size=(3, 1)) + by_lesion + noise * rng.normal(size=(3, 120))  # (3, N)
    weights = statistics.resample_groups(groups, resamples, rng)
    return values @ weights / weights.sum(0), statistics.seed_draws(3, resamples, rng)


def _coverage(seed_spread: float, noise: float) -> dict[str, float]:
    """How often 95 % intervals hold the truth, by three ways to make them."""
    rng = np.random.default_rng(0)
    covered = {"two-level": 0.0, "lesions alone": 0.0, "three seeds resampled": 0.0}
    for _ in range(400):
        values, draws = _simulate(rng, seed_spread, noise)
        picked = values[rng.integers(0, 3, (250, 3)), np.arange(250)[:, None]].mean(1)
        ways = [statistics.two_level(values, draws), values.mean(0), picked]
        for name, sample in zip(covered, ways, strict=True):
            interval = statistics.percentile_interval(0.0, sample, 0.95)
            covered[name] += (interval.low <= 0 <= interval.high) / 400
    return covered


def test_two_level_intervals_cover_the_truth_whatever_makes_it_uncertain() -> None:
    seeds, both, lesions = _coverage(0.1, 1e-6), _coverage(0.1, 0.5), _coverage(0.0, 0.5)
    for covered in (seeds, both, lesions):
        assert covered["two-level"] > 0.92
    assert seeds["three seeds resampled"] < 0.8  # why seeds are not resampled
    assert seeds["lesions alone"] < 0.1
