"""Intervals, resamples and p-values against closed forms, scipy, naive loops and simulated truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from benchmarks import evidence
from components.statistics import bootstrap, intervals
from components.statistics.bootstrap import Sample
from components.statistics.intervals import Interval
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.macro_auroc import macro_auroc


def _draw(seed: int, images: int = 60, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    p = rng.dirichlet(np.ones(classes), images).round(1) + 1e-3  # rounded: many ties
    groups = np.sort(rng.integers(0, images // 2, images)).astype(str)
    return labels, p / p.sum(1, keepdims=True), groups


@given(arrays(float, st.integers(2, 8), elements=st.floats(-5, 5)), st.floats(0.6, 0.99))
def test_interval_over_seeds_is_scipys_t_interval(values: np.ndarray, confidence: float) -> None:
    found = intervals.student_interval(values, confidence)
    spread = stats.sem(values)
    expected = stats.t.interval(confidence, len(values) - 1, values.mean(), spread) if spread else (values.mean(),) * 2
    np.testing.assert_allclose([found.low, found.high], expected, atol=1e-9)


def test_one_seed_has_no_interval() -> None:
    found = intervals.student_interval(np.array([0.7]), 0.95)
    assert found == Interval(0.7, -np.inf, np.inf)
    assert not found.known


@pytest.mark.parametrize(
    ("first", "last", "percent"),
    [(0.45, 0.65, 44.44), (0.165, 0.110, -33.33), (0.12, 0.10, -16.67), (0.58, 0.87, 50.0), (0.63, 0.75, 19.05)],
)
def test_relative_changes_are_the_papers(first: float, last: float, percent: float) -> None:
    assert round(100 * intervals.relative_change(first, last), 2) == percent


def test_relative_change_from_zero_is_not_known() -> None:
    assert np.isnan(intervals.relative_change(0.0, 0.5))


def _samples(values: np.ndarray, groups: np.ndarray, design: bootstrap.Design) -> list[Sample]:
    """Means of values (S, N) as one metric of S runs."""
    return [design.split(row @ design.columns / design.columns.sum(0)) for row in values]


def _one_class(groups: np.ndarray, resamples: int, seed: int = 0) -> bootstrap.Design:
    return bootstrap.make_design(groups, np.zeros(len(groups), int), resamples, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_bca_is_scipys(seed: int, confidence: float) -> None:
    values = np.random.default_rng(seed).exponential(size=40)  # skewed: all three corrections matter
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=999, confidence_level=confidence, method="BCa", rng=np.random.default_rng(seed)
    )
    design = _one_class(np.arange(40), 10)
    (sample,) = _samples(values[None], np.arange(40), design)
    ours = intervals.estimate([sample], design.strata)
    ends = intervals.bca_ends(theirs.bootstrap_distribution, ours.mean, ours.acceleration, confidence)
    assert ends == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)


def test_one_seed_of_many_single_images_is_scipys_bca_interval() -> None:
    values = np.random.default_rng(1).exponential(size=400)
    design = _one_class(np.arange(400), 8000)
    found = intervals.estimate(_samples(values[None], np.arange(400), design), design.strata).interval(0.95)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=8000, rng=np.random.default_rng(0)).confidence_interval
    reach = theirs.high - theirs.low
    assert [found.low, found.high] == pytest.approx([theirs.low, theirs.high], abs=0.03 * reach)


def test_influences_are_those_of_leaving_out_in_a_loop() -> None:
    labels, p, groups = _draw(4)
    design = bootstrap.make_design(groups, labels, 5, np.random.default_rng(0))
    sample = design.apply(balanced_accuracy, labels, p)
    for g, name in enumerate(np.unique(groups)):
        kept = groups != name
        expected = balanced_accuracy(labels[kept], p[kept])
        assert sample.omitted[g] == pytest.approx(expected, abs=1e-6)


def test_the_jackknife_of_a_stratified_mean_has_the_textbook_variance() -> None:
    rng = np.random.default_rng(2)
    strata, values = np.repeat([0, 1], [12, 30]), rng.normal(size=42)

    def mean(columns: np.ndarray) -> np.ndarray:  # of two strata that have equal weight, whatever their sizes
        parts = [values[strata == k] @ columns[strata == k] / columns[strata == k].sum(0) for k in (0, 1)]
        return (parts[0] + parts[1]) / 2

    design = bootstrap.make_design(np.arange(42), strata, 20_000, rng)
    found = intervals.estimate([design.split(mean(design.columns))], design.strata)
    parts = [values[strata == k].var(ddof=1) / (strata == k).sum() / 4 for k in (0, 1)]
    assert found.sources.by_lesions == pytest.approx(np.sqrt(sum(parts)), rel=0.02)
    assert found.sources.lesions == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 11 + parts[1] ** 2 / 29), rel=0.05)


def test_equal_lesions_give_students_interval_and_test() -> None:
    values = np.repeat([[0.70], [0.74], [0.71]], 20, axis=1)
    design = _one_class(np.arange(20), 500)
    found = intervals.estimate(_samples(values, np.arange(20), design), design.strata)
    expected = intervals.student_interval(values[:, 0], 0.95)
    assert [found.interval(0.95).low, found.interval(0.95).high] == pytest.approx(
        [expected.low, expected.high], rel=1e-4
    )
    assert found.p_value(0.69) == pytest.approx(stats.ttest_1samp(values[:, 0], 0.69).pvalue, abs=1e-3)
    assert found.sources.by_seeds == pytest.approx(stats.sem(values[:, 0]), rel=1e-4)


def test_equal_seeds_give_the_interval_over_lesions() -> None:
    values = np.random.default_rng(0).normal(size=60)
    design = _one_class(np.arange(60), 500)
    one, four = (
        intervals.estimate(_samples(np.tile(values, (seeds, 1)), np.arange(60), design), design.strata)
        for seeds in (1, 4)
    )
    assert one.interval(0.9) == four.interval(0.9)
    assert four.sources.by_seeds == 0
    assert four.sources.by_lesions == pytest.approx(stats.sem(values), rel=0.1)


def test_seeds_with_equal_values_keep_the_interaction_of_seed_and_lesions() -> None:
    """Each seed gets other lesions right, as many: no variance over seeds, none that all share."""
    right = np.zeros((3, 90))
    for seed in range(3):
        right[seed, 30 * seed : 30 * seed + 5] = 1
    design = _one_class(np.arange(90), 1000)
    samples = _samples(right, np.arange(90), design)
    rounded = [replace(each, value=each.value + step) for each, step in zip(samples, (0, 1e-16, -1e-16), strict=True)]
    binomial = 1.96 * np.sqrt(5 / 90 * 85 / 90 / 90 / 3)
    for each in (samples, rounded):
        found = intervals.estimate(each, design.strata).interval(0.95)
        assert found.high - found.low > 1.8 * binomial


def test_the_variance_components_are_those_that_were_simulated() -> None:
    rng, lesions, seeds = np.random.default_rng(3), 400, 40
    shared, own = rng.normal(size=lesions), rng.normal(size=(seeds, lesions))
    values = 0.2 * rng.normal(size=(seeds, 1)) + 0.8 * shared + 1.2 * own
    design = _one_class(np.arange(lesions), 1000)
    found = intervals.estimate(_samples(values, np.arange(lesions), design), design.strata).sources
    assert found.by_lesions == pytest.approx(0.8 / 20, rel=0.1)
    assert found.interplay == pytest.approx(1.2 / 20, rel=0.1)
    assert found.training == pytest.approx(0.2, rel=0.3)
    assert found.by_seeds == pytest.approx(np.hypot(0.2, 1.2 / 20) / np.sqrt(40), rel=0.2)
    assert found.both == pytest.approx(np.hypot(found.by_lesions, found.by_seeds))


@given(st.integers(0, 10**6), st.floats(-1.5, 1.5), st.floats(0.55, 0.99))
def test_p_value_and_interval_always_agree(seed: int, null: float, confidence: float) -> None:
    rng = np.random.default_rng(seed)
    design = _one_class(np.arange(25), 200, seed)
    values = 0.4 * rng.normal(size=(3, 1)) + rng.exponential(size=(3, 25)) - 1
    found = intervals.estimate(_samples(values, np.arange(25), design), design.strata)
    interval, p = found.interval(confidence), found.p_value(null)
    if abs(p - (1 - confidence)) > 1e-4 and p > 2 / 201:
        assert (p < 1 - confidence) == (not interval.low <= null <= interval.high)


def test_an_interval_of_higher_confidence_contains_that_of_lower() -> None:
    design = _one_class(np.arange(30), 300)
    values = np.random.default_rng(0).exponential(size=(3, 30))
    found = intervals.estimate(_samples(values, np.arange(30), design), design.strata)
    ends = [(found.interval(c).low, found.interval(c).high) for c in np.linspace(0.05, 0.999, 60)]
    assert (np.diff([low for low, _ in ends]) <= 1e-12).all()
    assert (np.diff([high for _, high in ends]) >= -1e-12).all()


def test_an_undefined_metric_has_no_interval_and_no_difference() -> None:
    nothing = Sample(np.nan, np.full(9, np.nan), np.full(4, np.nan))
    found = intervals.estimate([nothing, nothing], np.zeros(4, int))
    assert not found.interval(0.95).known
    assert found.p_value() == 1


def test_arms_that_agree_everywhere_do_not_differ() -> None:
    labels, p, groups = _draw(6)
    design = bootstrap.make_design(groups, labels, 100, np.random.default_rng(0))
    sample = design.apply(macro_auroc, labels, p)
    found = intervals.estimate([sample - sample] * 3, design.strata)
    assert found.interval(0.95) == Interval(0.0, 0.0, 0.0)
    assert found.p_value() == 1


def test_intervals_cover_and_equal_arms_are_not_called_superior() -> None:
    """The slim form of `python -m benchmarks.evidence`, whose full table is in docs/methods.md."""
    world = evidence.World("slim", (30, 20), 3, 0.2)
    found = evidence.simulate(world, repeats=200, resamples=300)
    assert found["alarm"] <= 0.06
    assert found["alarm.one"] <= 0.05
    covered = {name: share for name, share in found.items() if not name.startswith("alarm")}
    assert len(covered) == 8
    assert all(0.90 <= share <= 0.995 for share in covered.values()), covered


def test_three_seeds_resampled_would_not_cover() -> None:
    """Why seeds are not bootstrapped: no resample of three values leaves their range."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(2000, 3))
    picked = drawn[np.arange(2000)[:, None, None], rng.integers(0, 3, (2000, 400, 3))].mean(2)
    low, high = np.quantile(picked, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.8


@pytest.mark.parametrize(("share", "trials"), [(1.0, 3), (0.0, 3), (1.0, 40), (0.0, 200)])
def test_a_share_at_its_end_has_the_exact_interval_of_its_lesions(share: float, trials: int) -> None:
    right = np.full(trials, share)
    design = bootstrap.make_design(np.arange(trials), np.zeros(trials, int), 50, np.random.default_rng(0))
    samples = [design.split(right @ design.columns / design.columns.sum(0))] * 3
    found = intervals.estimate(samples, design.strata, (0.0, 1.0), trials).interval(0.95)
    exact = stats.binomtest(round(share * trials), trials).proportion_ci(0.95, method="exact")
    assert (found.mean, found.low, found.high) == pytest.approx((share, exact.low, exact.high))
