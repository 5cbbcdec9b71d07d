"""Forecast: what more seeds or more test lesions would bring, with intervals.

The half width of the interval, and the power for a difference as large as the margin, follow from the variance
components. Those of few seeds are uncertain, so each forecast is also given at both ends of the 95 % chi-square
interval of the between-seed variance. The between-lesion variance is taken as it is: it rests on many more lesions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2

from components.statistics.intervals import Interval, VarianceComponents, combined_reach
from components.statistics.power import extrapolate, power
from components.statistics.rule import Rule

MORE_SEEDS = (5, 10, 20)
"""Numbers of seeds that are forecast where no looks are planned."""

MORE_LESIONS = (2, 4)
"""Multiples of the test lesions."""

CONFIDENCE = 0.95
"""Of the intervals of a forecast."""

DRAWS = 2000
"""Of the seeds to come, for the probability that a look decides."""


@dataclass(frozen=True)
class Forecast:
    """The same study with another number of seeds or test lesions."""

    seeds: int
    lesions: int
    """Times the test lesions."""
    half_width: Interval
    """Of the interval of the difference, at the confidence that the study then has."""
    power: Interval
    """Probability to find a difference as large as the margin, at the smallest level of Holm's correction."""
    decides: float | None
    """Probability that a planned look decides, given what was found; at most, since it is without Holm's correction."""


@dataclass(frozen=True)
class Found:
    """What a comparison has shown so far."""

    difference: float
    components: VarianceComponents


def forecast_study(found: Found, rule: Rule, comparisons: int, rng: np.random.Generator) -> tuple[Forecast, ...]:
    """The study as it is, with more seeds (those of each later look, or MORE_SEEDS), and with MORE_LESIONS.

    Args:
        found: of one comparison, with at least two seeds.
        rule: gives margin, level and looks.
        comparisons: tests of the study; they divide the level (Holm).
        rng: draws the seeds to come.
    """
    look, now = rule.look, found.components.seeds
    more = [seeds for seeds in (look.planned if look else MORE_SEEDS) if seeds > now]
    sizes = [(now, 1), *((seeds, 1) for seeds in more), *((now, times) for times in MORE_LESIONS)]
    return tuple(_forecast(found, seeds, times, rule.at(seeds), comparisons, rng) for seeds, times in sizes)


def _forecast(
    found: Found, seeds: int, lesions: int, rule: Rule, comparisons: int, rng: np.random.Generator
) -> Forecast:
    possible = [extrapolate(each, seeds, lesions) for each in with_uncertain_seeds(found.components)]
    planned = rule.look is not None and seeds > found.components.seeds
    return Forecast(
        seeds=seeds,
        lesions=lesions,
        half_width=_span([half_width(each, 1 - rule.alpha) for each in possible]),
        power=_span([power(each, rule.margin, rule.alpha / comparisons) for each in possible]),
        decides=decision_probability(found, seeds, rule, rng) if planned else None,
    )


def half_width(components: VarianceComponents, confidence: float) -> float:
    """Of the interval of a mean with these variance components."""
    errors = components.by_lesions, components.by_seeds
    return float(combined_reach(*errors, components.lesions, components.seeds - 1, confidence))


def with_uncertain_seeds(components: VarianceComponents) -> tuple[VarianceComponents, ...]:
    """As estimated, and with the between-seed variance at both ends of its chi-square interval.

    The variance of S seeds is chi-square with S - 1 degrees of freedom. It is never below the interaction of seed and
    lesions, which the bootstrap knows.
    """
    free, least = components.seeds - 1, components.interplay**2
    between = components.training**2 + least
    quantiles = chi2.ppf([(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2], free)
    ends = [replace(components, training=float(np.sqrt(max(0.0, free * between / q - least)))) for q in quantiles]
    return components, *ends


def _span(values: Sequence[float]) -> Interval:
    """The first value, and the smallest and largest of all."""
    return Interval(values[0], min(values), max(values))


def decision_probability(found: Found, seeds: int, rule: Rule, rng: np.random.Generator) -> float:
    """Probability that a later look decides: its seeds are drawn, given the difference and variance found so far.

    Prediction for normal values with a flat prior on mean and log variance, so that the variance of few seeds is
    uncertain (Gelman et al. 2013, section 3.2). The test lesions are the same at each look, and so is their part of the
    difference. A look decides where its interval is on one side of zero, or of either margin.

    Args:
        found: the difference so far, with at least two seeds.
        seeds: at the later look; more than so far.
        rule: of that look.
        rng: draws the seeds to come.
    """
    parts, now = found.components, found.components.seeds
    new, free = seeds - now, now - 1
    squares = free * (parts.training**2 + parts.interplay**2)  # sum of squares of the seeds so far
    variance = squares / rng.chisquare(free, DRAWS)
    shift = rng.standard_normal(DRAWS) * np.sqrt(variance * (1 / new + 1 / now))  # of the new seeds' mean
    spread = variance * rng.chisquare(new - 1, DRAWS) if new > 1 else 0.0
    pooled = (squares + spread + shift**2 * now * new / seeds) / (seeds - 1)
    mean = found.difference + shift * new / seeds
    by_seeds = np.sqrt(pooled / seeds)
    reach = combined_reach(parts.by_lesions, by_seeds, parts.lesions, seeds - 1, 1 - rule.alpha)
    low, high = mean - reach, mean + reach
    return float(np.mean((low > 0) | (high < 0) | (low >= -rule.margin) | (high <= rule.margin)))
