"""What would decide it: how many seeds or lesions a study needs to find a difference that matters.

The size to look for is named beforehand, never the one that was seen: power for the observed difference only repeats
its p-value (Hoenig & Heisey 2001).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import nct, norm
from scipy.stats import t as student

from components.statistics.intervals import Sources

MOST = 100
"""More than so many seeds, or times the lesions, is no plan."""


@dataclass(frozen=True)
class Need:
    """What finds a true difference of `effect`; None where even MOST would not."""

    effect: float
    power: float  # asked for
    now: float  # chance to find it with what the study has
    seeds: int | None  # with the same lesions
    lesions: float | None  # times as many, with the same seeds
    detectable: float  # the difference that this study finds with the power asked for


def power(sources: Sources, effect: float, alpha: float) -> float:
    """Chance that a true difference of `effect` is found at two-sided level `alpha`."""
    if not sources.both > 0:
        return 1.0 if effect else alpha
    freedom, shift = sources.freedom, effect / sources.both
    if freedom > 1e4:  # scipy's noncentral t is slow and shaky there
        critical = norm.ppf(1 - alpha / 2)
        return float(norm.sf(critical - shift) + norm.cdf(-critical - shift))
    critical = student.ppf(1 - alpha / 2, freedom)
    return float(nct.sf(critical, freedom, shift) + nct.cdf(-critical, freedom, shift))


def planned(sources: Sources, seeds: int, lesions: float) -> Sources:
    """The sources of a study with so many seeds and so many times the lesions."""
    between = sources.training**2 + sources.interplay**2 / lesions
    return replace(
        sources,
        by_lesions=sources.by_lesions / np.sqrt(lesions),
        by_seeds=float(np.sqrt(between / seeds)),
        interplay=sources.interplay / np.sqrt(lesions),
        seeds=seeds,
        lesions=sources.lesions * lesions,
    )


def needed(sources: Sources, effect: float, alpha: float, asked: float) -> Need:
    """How many seeds, or how many times the lesions, find `effect` with the power `asked`."""

    def finds(seeds: int, lesions: float) -> bool:
        return power(planned(sources, seeds, lesions), effect, alpha) >= asked

    seeds = next((n for n in range(2, MOST + 1) if finds(n, 1.0)), None)
    times = next((float(x) for x in np.geomspace(0.1, MOST, 301) if finds(sources.seeds, float(x))), None)
    now = planned(sources, sources.seeds, 1.0)
    return Need(effect, asked, power(now, effect, alpha), seeds, times, _detectable(now, alpha, asked))


def _detectable(sources: Sources, alpha: float, asked: float) -> float:
    """Smallest difference that is found with the power `asked`, by halving."""
    low, high = 0.0, 1e-6
    while power(sources, high, alpha) < asked:
        high *= 2
    while high - low > 1e-5 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if power(sources, middle, alpha) >= asked else (middle, high)
    return high
