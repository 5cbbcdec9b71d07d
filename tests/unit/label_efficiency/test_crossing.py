"""Roots, isotonic curves and draws against closed forms, scipy and naive loops; intervals cover planted crossings."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import isotonic_regression
from scipy.stats import t as student

from benchmarks import crossing as crossing_study
from components.label_efficiency.crossing import (
    ShareOutcome,
    draw_curves,
    draw_seed_noise,
    locate,
    rising,
    root,
)
from components.statistics.resampled import resample
from tests.unit.label_efficiency.planted_curves import (
    SHARES,
)


def _columns(rows: list[float]) -> np.ndarray:
    return np.array(rows, float)[:, None]


def test_the_root_of_a_line_is_its_closed_form() -> None:
    values = np.stack([0.06 * np.log2(SHARES / at) for at in (0.2, 0.35, 0.25, 0.9)], axis=1)
    np.testing.assert_allclose(root(SHARES, values, strict=True), [0.2, 0.35, 0.25, 0.9])


def test_a_root_outside_the_range_is_infinite() -> None:
    assert root(SHARES, _columns([1, 2, 3, 4]), strict=True) == -np.inf
    assert root(SHARES, _columns([-4, -3, -2, -1]), strict=True) == np.inf
    assert root(SHARES, _columns([1, 2, -1, -1]), strict=True) == np.inf  # it ends below


def test_of_several_crossings_the_last_counts() -> None:
    assert root(SHARES, _columns([-1, 1, -1, 1]), strict=True) == pytest.approx(2**-0.5)


@pytest.mark.parametrize(
    ("differences", "outcome"),
    [
        ([10, 10, 10, 10], ShareOutcome.BELOW),
        ([10, 6, 3, 0.2], ShareOutcome.OPEN),  # an advantage that ends with all lesions: behind in half of the draws
        ([15, 8, 3, 0], ShareOutcome.OPEN),  # a tie
        ([-6, -3, 3, 9], ShareOutcome.WITHIN),
    ],
)
def test_an_advantage_that_shrinks_to_nothing_is_no_missing_crossing(differences: list, outcome: ShareOutcome) -> None:
    mean = np.array(differences, float)
    draws = mean[:, None] + 1.5 * np.random.default_rng(0).normal(size=(4, 2000))
    assert locate(SHARES, mean, draws, 0.95, decides=True, strict=True).outcome is outcome


def test_zero_reaches_but_does_not_lead() -> None:
    assert root(SHARES, _columns([-3, -2, -1, 0]), strict=False) == 1.0
    assert root(SHARES, _columns([-3, -2, -1, 0]), strict=True) == np.inf
    assert root(SHARES, _columns([0, 0, 0, 0]), strict=False) == -np.inf


def test_the_root_is_that_of_a_naive_loop() -> None:
    values = np.random.default_rng(0).normal(size=(4, 300))
    for place, mine in enumerate(root(SHARES, values, strict=True)):
        own, theirs = values[:, place], -np.inf
        for at in range(3):
            if own[at] <= 0 < own[at + 1]:
                theirs = 2 ** np.interp(0, own[at : at + 2], np.log2(SHARES[at : at + 2]))
        assert mine == pytest.approx(theirs if own[-1] > 0 else np.inf)


def test_the_nearest_rising_curve_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=(5, 50))
    theirs = np.stack([isotonic_regression(column).x for column in values.T], axis=1)
    np.testing.assert_allclose(rising(values), theirs)


def test_draws_of_the_seeds_are_students_t() -> None:
    """With every lesion as sure as another, three seeds' mean has Student's interval at each share."""
    rng = np.random.default_rng(0)
    test = resample(np.arange(40) % 2, np.arange(40), 40_000, 0.95, rng)
    values = rng.normal(size=(3, 2))
    by_seed = np.repeat(values[:, :, None], test.weights.shape[1], axis=2)
    mean, draws = draw_curves(by_seed, test, draw_seed_noise(3, 40_000, rng))
    np.testing.assert_allclose(mean, values.mean(0))
    reach = student.ppf(0.975, 2) * values.std(0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(np.quantile(draws, 0.975, axis=1) - mean, reach, rtol=0.05)
    correlated = np.corrcoef(draws)[0, 1] * np.corrcoef(values.T)[0, 1]
    assert correlated > 0  # shares keep the seeds' correlation


def test_open_ends_are_kept_open() -> None:
    """Three of ten draws end on the other side: the interval has no upper end, and nothing is decided."""
    draws = np.stack([0.06 * np.log2(SHARES / at) for at in np.linspace(0.3, 1.4, 200)], axis=1)
    place = locate(SHARES, 0.06 * np.log2(SHARES / 0.8), draws, 0.95, decides=True, strict=True)
    assert place.share == pytest.approx(0.8) and place.high == np.inf and 0.3 <= place.low < 0.35
    assert place.beyond == pytest.approx(0.36, abs=0.02) and place.below == 0 and place.outcome is ShareOutcome.OPEN


def test_intervals_of_the_crossing_hold_what_they_promise() -> None:
    """The slim form of `python -m benchmarks.crossing`, whose full table stands in docs/methods.md."""
    found = crossing_study.simulate(crossing_study.CurveWorld("slim", 100, 3, 0.02), repeats=120, resamples=200)
    assert found["crossing"] >= 0.9 and found["enough"] >= 0.9


@pytest.mark.parametrize(("slope", "meet"), [(crossing_study.GAIN, crossing_study.CROSSING), (-0.02, 1.0)])
def test_of_arms_that_end_equal_almost_nothing_is_claimed(slope: float, meet: float) -> None:
    world = crossing_study.CurveWorld("equal", 100, 3, 0.02, slope=slope, meet=meet)
    assert crossing_study.simulate(world, repeats=100, resamples=200)["claimed"] <= 0.06
