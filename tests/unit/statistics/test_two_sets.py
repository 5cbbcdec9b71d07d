"""Differences of two test sets against closed forms, Welch's interval and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks import external_validation as simulation
from benchmarks.evidence import World
from components.statistics import intervals
from components.statistics.bootstrap import Design, Sample, make_design
from components.statistics.intervals import estimate
from components.statistics.two_sets import joint_strata, set_difference


def _mean(values: np.ndarray, design: Design) -> Sample:
    """The mean of one value a lesion."""
    return design.split(values @ design.columns / design.columns.sum(0))


def _design(labels: np.ndarray, resamples: int, seed: int) -> Design:
    return make_design(np.arange(len(labels)), labels, resamples, np.random.default_rng(seed))


def test_the_drop_of_accuracy_has_the_variance_of_two_independent_proportions() -> None:
    rng = np.random.default_rng(0)
    here, there = np.repeat([0, 1], [120, 60]), np.repeat([0, 1], [40, 90])
    right = [(rng.random(len(labels)) < 0.8 - 0.2 * labels).astype(float) for labels in (here, there)]
    designs = [_design(here, 20_000, 0), _design(there, 20_000, 1)]
    samples = [_mean(*each) for each in zip(right, designs, strict=True)]
    found = estimate([set_difference(samples[1], samples[0])], joint_strata(designs[1].strata, designs[0].strata))
    parts = [
        (np.sum(labels == k) / len(labels)) ** 2 * values[labels == k].var(ddof=1) / np.sum(labels == k)
        for labels, values in zip((here, there), right, strict=True)
        for k in (0, 1)
    ]  # p (1 - p) / (n - 1) of each class on each side, by its share squared
    assert found.mean == right[1].mean() - right[0].mean()
    assert found.sources.by_lesions == pytest.approx(np.sqrt(sum(parts)), rel=0.02)
    welch = sum(parts) ** 2 / sum(part**2 / (n - 1) for part, n in zip(parts, (120, 60, 40, 90), strict=True))
    assert found.sources.lesions == pytest.approx(welch, rel=0.02)


def test_the_drop_of_one_model_has_welchs_interval() -> None:
    rng = np.random.default_rng(1)
    values = [rng.normal(size=60), 2 * rng.normal(size=25)]
    designs = [_design(np.zeros(len(each), int), 10_000, seed) for seed, each in enumerate(values)]
    here, there = (_mean(*each) for each in zip(values, designs, strict=True))
    found = estimate([set_difference(there, here)], joint_strata(designs[1].strata, designs[0].strata)).interval(0.95)
    expected = stats.ttest_ind(values[1], values[0], equal_var=False).confidence_interval(0.95)
    reach = expected.high - expected.low
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=0.04 * reach)


def test_influences_add_over_both_sets() -> None:
    rng = np.random.default_rng(2)
    designs = [_design(np.repeat([0, 1], counts), 50, seed) for seed, counts in enumerate([(12, 9), (7, 20)])]
    here, there = (_mean(rng.normal(size=len(design.strata)), design) for design in designs)
    pulls = intervals.influences(
        set_difference(there, here).omitted, joint_strata(designs[1].strata, designs[0].strata)
    )
    own = [intervals.influences(each.omitted, d.strata) for each, d in ((there, designs[1]), (here, designs[0]))]
    np.testing.assert_allclose(pulls, np.concatenate([own[0], -own[1]]), atol=1e-12)


def test_a_seeds_effect_that_both_sets_share_cancels_in_the_drop() -> None:
    designs = [_design(np.zeros(40, int), 200, seed) for seed in (0, 1)]
    hard = [np.random.default_rng(seed).normal(size=40) for seed in (3, 4)]
    drops = []
    for effect in (-1.0, 0.2, 0.9):  # large, the same on both sets
        here, there = (_mean(each + effect, design) for each, design in zip(hard, designs, strict=True))
        drops.append(set_difference(there, here))
    assert estimate(drops, joint_strata(designs[1].strata, designs[0].strata)).sources.by_seeds == pytest.approx(
        0, abs=1e-6
    )


def test_intervals_of_the_drop_have_their_nominal_coverage() -> None:
    """Lesions of both sides, seeds that both sides share, and a loss of each seed's own: 400 studies."""
    rng, held = np.random.default_rng(5), []
    designs = [_design(np.repeat([0, 1], counts), 200, seed) for seed, counts in enumerate([(30, 20), (15, 25)])]
    strata = joint_strata(designs[1].strata, designs[0].strata)
    for _ in range(400):
        hard = [rng.normal(size=len(design.strata)) for design in designs]
        drops = []
        for _ in range(3):
            effect, own = 0.5 * rng.normal(), 0.15 * rng.normal()
            sides = [each + 0.5 * rng.normal(size=len(each)) + effect for each in hard]
            drops.append(set_difference(_mean(sides[1] - 0.4 + own, designs[1]), _mean(sides[0], designs[0])))
        found = estimate(drops, strata).interval(0.95)
        held.append(found.low <= -0.4 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.985, np.mean(held)


def test_drops_of_real_metrics_cover_and_equal_arms_differ_rarely() -> None:
    """The slim form of `python -m benchmarks.external_validation`, whose full table is in docs/methods.md."""
    worlds = World("", (20, 15), 3, 0.2), World("", (12, 18), 3, 0.2, skill=1.0)
    found = simulation.simulate(worlds, repeats=50, resamples=200, arms=2, models=50)
    assert found.pop("alarm") <= 0.12
    assert len(found) == 10
    assert all(share >= 0.84 for share in found.values()), found
