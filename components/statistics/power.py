"""Power analysis: how many seeds or lesions a study needs to find a difference of a given size.

The size is set beforehand and is never the observed one: power for the observed difference only repeats its p-value
(Hoenig & Heisey 2001).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import nct, norm
from scipy.stats import t as student

from components.statistics.intervals import VarianceComponents

SEARCH_LIMIT = 100
"""No larger number of seeds, or multiple of the lesions, is searched."""


@dataclass(frozen=True)
class SampleSize:
    """What finds a true difference of `effect`; None where even SEARCH_LIMIT is not enough."""

    effect: float
    power: float  # target
    now: float  # power of the study as it is
    seeds: int | None  # with the same lesions
    lesions: float | None  # times as many, with the same seeds
    detectable: float  # the difference that the study as it is finds with the target power


def power(components: VarianceComponents, effect: float, alpha: float) -> float:
    """Probability that a true difference of `effect` is found at two-sided level `alpha`."""
    if not components.both > 0:
        return 1.0 if effect else alpha
    freedom, shift = components.freedom, effect / components.both
    if freedom > 1e4:  # scipy's noncentral t is slow and inaccurate there
        critical = norm.ppf(1 - alpha / 2)
        return float(norm.sf(critical - shift) + norm.cdf(-critical - shift))
    critical = student.ppf(1 - alpha / 2, freedom)
    return float(nct.sf(critical, freedom, shift) + nct.cdf(-critical, freedom, shift))


def extrapolate(components: VarianceComponents, seeds: int, lesions: float) -> VarianceComponents:
    """The variance components of a study with that many seeds and `lesions` times the lesions."""
    between = components.training**2 + components.interplay**2 / lesions
    return replace(
        components,
        by_lesions=components.by_lesions / np.sqrt(lesions),
        by_seeds=float(np.sqrt(between / seeds)),
        interplay=components.interplay / np.sqrt(lesions),
        seeds=seeds,
        lesions=components.lesions * lesions,
    )


def required_sample_size(components: VarianceComponents, effect: float, alpha: float, target: float) -> SampleSize:
    """How many seeds, or how many times the lesions, find `effect` with a power of `target`."""

    def finds(seeds: int, lesions: float) -> bool:
        return power(extrapolate(components, seeds, lesions), effect, alpha) >= target

    seeds = next((n for n in range(2, SEARCH_LIMIT + 1) if finds(n, 1.0)), None)
    times = next((float(x) for x in np.geomspace(0.1, SEARCH_LIMIT, 301) if finds(components.seeds, float(x))), None)
    now = extrapolate(components, components.seeds, 1.0)
    return SampleSize(
        effect=effect,
        power=target,
        now=power(now, effect, alpha),
        seeds=seeds,
        lesions=times,
        detectable=_detectable(now, alpha, target),
    )


def _detectable(components: VarianceComponents, alpha: float, target: float) -> float:
    """Smallest difference that is found with a power of `target`, by bisection."""
    low, high = 0.0, 1e-6
    while power(components, high, alpha) < target:
        high *= 2
    while high - low > 1e-5 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if power(components, middle, alpha) >= target else (middle, high)
    return high
