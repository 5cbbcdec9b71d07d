"""Forecasts against closed forms and simulated studies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from components.statistics.forecast import (
    Found,
    decision_probability,
    forecast_study,
    half_width,
    with_uncertain_seeds,
)
from components.statistics.intervals import VarianceComponents
from components.statistics.looks import find_look
from components.statistics.power import power
from components.statistics.rule import Rule

SEEDS = VarianceComponents(by_lesions=0.0, by_seeds=0.01, training=0.01 * 3**0.5, interplay=0.0, seeds=3, lesions=80.0)
BOTH = VarianceComponents(
    by_lesions=0.008, by_seeds=0.0208 / 3**0.5, training=0.0192, interplay=0.008, seeds=3, lesions=80.0
)  # 0.0192² + 0.008² = 0.0208²
RULE = Rule(0.95, 0.02, 3)
LOOKS = Rule(0.95, 0.02, 3, find_look((3, 5, 10), 3, 0.05)).at(3)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_half_width_is_students_where_lesions_have_no_variance() -> None:
    assert half_width(SEEDS, 0.95) == pytest.approx(stats.t.ppf(0.975, 2) * 0.01)
    only_lesions = replace(SEEDS, by_lesions=0.01, by_seeds=0.0, training=0.0)
    assert half_width(only_lesions, 0.95) == pytest.approx(stats.t.ppf(0.975, 80) * 0.01)


def test_the_range_of_the_seeds_variance_is_the_chi_square_interval() -> None:
    """Of 3 values with standard deviation 1: 0.521 to 6.285 (NIST handbook's formula, tables of chi-square)."""
    _, low, high = with_uncertain_seeds(replace(SEEDS, training=1.0))
    assert [low.training, high.training] == pytest.approx([0.5207, 6.2847], abs=2e-4)


def test_that_range_holds_the_true_variance_in_95_percent_of_studies() -> None:
    drawn = rng().standard_normal((1000, 3)).std(1, ddof=1)
    ranges = [with_uncertain_seeds(replace(SEEDS, training=float(each))) for each in drawn]
    assert np.mean([low.training <= 1 <= high.training for _, low, high in ranges]) == pytest.approx(0.95, abs=0.02)


def test_the_variance_of_seeds_is_never_below_the_interaction_with_lesions() -> None:
    _, low, _ = with_uncertain_seeds(replace(BOTH, training=0.0, interplay=0.01))
    assert low.training == 0.0


def test_more_seeds_and_lesions_narrow_the_interval() -> None:
    found = forecast_study(Found(0.01, replace(BOTH, by_lesions=0.03)), RULE, 2, rng())
    assert [(each.seeds, each.lesions) for each in found] == [(3, 1), (5, 1), (10, 1), (20, 1), (3, 2), (3, 4)]
    widths = [each.half_width.mean for each in found]
    assert widths[0] > widths[1] > widths[2] > widths[3] and widths[0] > widths[4] > widths[5]
    assert found[0].power.mean == pytest.approx(power(replace(BOTH, by_lesions=0.03), 0.02, 0.025))
    for each in found:
        assert each.half_width.low < each.half_width.mean < each.half_width.high
        assert each.power.low <= each.power.mean <= each.power.high
        assert each.decides is None


def test_planned_looks_are_forecast_at_their_own_level() -> None:
    found = forecast_study(Found(0.01, BOTH), LOOKS, 2, rng())
    assert [(each.seeds, each.lesions) for each in found] == [(3, 1), (5, 1), (10, 1), (3, 2), (3, 4)]
    assert found[0].half_width.mean == pytest.approx(half_width(BOTH, 0.985))
    assert [each.decides is None for each in found] == [True, False, False, True, True]


def test_a_clear_difference_will_be_decided_and_a_hopeless_one_will_not() -> None:
    surely = replace(BOTH, training=0.001, by_seeds=0.001, interplay=0.0, by_lesions=0.002)
    assert decision_probability(Found(0.05, surely), 10, LOOKS.at(10), rng()) > 0.99
    hopeless = replace(surely, by_lesions=0.03)  # no number of seeds narrows it
    assert decision_probability(Found(0.0, hopeless), 10, LOOKS.at(10), rng()) < 0.02


def test_the_probability_that_a_look_decides_is_that_of_drawn_studies() -> None:
    """Studies with the found mean and variance, from a prior that is nearly flat: how often does ten seeds decide?"""
    draws = rng()
    found, kept, decided = 0.02, 0, 0
    target = 0.012
    while kept < 400:
        count = 200_000
        sigma = np.exp(draws.uniform(np.log(0.001), np.log(0.3), count))  # flat in its logarithm
        theta = draws.uniform(-0.5, 0.5, count)
        values = theta[:, None] + sigma[:, None] * draws.standard_normal((count, 3))
        near = (abs(values.mean(1) - found) < 0.004) & (abs(np.log(values.std(1, ddof=1) / target)) < 0.2)
        rows = np.flatnonzero(near)
        more = theta[rows, None] + sigma[rows, None] * draws.standard_normal((len(rows), 7))
        all_seeds = np.concatenate([values[rows], more], axis=1)
        reach = stats.t.ppf(1 - 0.0125, 9) * all_seeds.std(1, ddof=1) / 10**0.5
        low, high = all_seeds.mean(1) - reach, all_seeds.mean(1) + reach
        decided += int(np.sum((low > 0) | (high < 0) | (low >= -0.02) | (high <= 0.02)))
        kept += len(rows)
    parts = replace(SEEDS, training=target, by_seeds=target / 3**0.5)
    assert decision_probability(Found(found, parts), 10, LOOKS.at(10), rng()) == pytest.approx(decided / kept, abs=0.07)
