"""Intervals and p-values of a mean over seeds, with between-seed and between-lesion variance.

Letters: N images, K classes, G groups (lesions or patients), R resamples, S seeds.

Steps: `bootstrap.make_design` resamples whole groups, stratified by class (bootstrap), and leaves out each group once
(jackknife). `Design.apply` computes a metric of one run in all resamples, `estimate` combines the seeds.

Quantiles are scipy.special's: those of scipy.stats are the same numbers and take 80 to 300 times as long for a scalar,
and a p-value needs about 200.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from components.statistics.bootstrap import Sample
from components.statistics.weighting import Array

UNBOUNDED = (-np.inf, np.inf)

SHARE_ENDS = (0.0, 1.0)

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Interval:
    """A mean with an interval; infinite ends where its variance is not known."""

    mean: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """False where an end is infinite or NaN, as for a single seed."""
        return bool(np.isfinite([self.mean, self.low, self.high]).all())

    def inside(self, bounds: tuple[float, float]) -> Interval:
        """The same with its ends inside `bounds`, where they are known."""
        low, high = bounds
        return Interval(self.mean, max(self.low, low), min(self.high, high)) if self.known else self


def read_interval(found: Mapping[str, float | None]) -> Interval:
    """An interval from its JSON record; null becomes NaN or an infinite end."""
    mean, low, high = (found[end] for end in ("mean", "low", "high"))
    return Interval(np.nan if mean is None else mean, -np.inf if low is None else low, np.inf if high is None else high)


def student_interval(values: Array, confidence: float) -> Interval:
    """The mean of independent values (S,), one a seed, with Student's t interval; unbounded for one value."""
    values = np.asarray(values, float)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    reach = float(stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - reach, mean + reach)


def relative_change(first: float, last: float) -> float:
    """The change as a fraction of the first value, as in the paper: 0.45 to 0.65 is +0.444; NaN from zero."""
    return last / first - 1 if first else float("nan")


@dataclass(frozen=True)
class VarianceComponents:
    """Variance components of a mean over seeds; the squares of the two standard errors add up."""

    by_lesions: float
    """Standard error that all seeds share: between-lesion variance."""
    by_seeds: float
    """Standard error of training, 0 for a single seed: between-seed standard deviation / root of their number."""
    training: float
    """Between-seed standard deviation with infinitely many test lesions."""
    interplay: float
    """Standard deviation of the interaction of seed and test lesions."""
    seeds: int
    lesions: float
    """Degrees of freedom of `by_lesions`: the effective number of groups minus one a stratum."""

    @property
    def both(self) -> float:
        """The standard error of the mean over seeds."""
        return float(np.hypot(self.by_lesions, self.by_seeds))

    @property
    def freedom(self) -> float:
        """Degrees of freedom of `both` (Satterthwaite 1946)."""
        parts = [(self.by_lesions, self.lesions), (self.by_seeds, self.seeds - 1)]
        found = sum(error**4 / degrees for error, degrees in parts if error > 0 and degrees > 0)
        return float(self.both**4 / found) if found else np.inf

    def reaches(self, confidence: float) -> tuple[float, float]:
        """Half widths of the interval with between-lesion or between-seed variance alone; NaN where not known."""
        parts = [(self.by_lesions, self.lesions), (self.by_seeds, self.seeds - 1)]
        tail = (1 + confidence) / 2
        first, second = (error * stdtrit(free, tail) if free > 0 else np.nan for error, free in parts)
        return float(first), float(second)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with what an interval at any confidence, and so a p-value, needs."""

    mean: float
    draws: Array
    """(R,) means over seeds in each resample, without resamples in which the metric is undefined."""
    acceleration: float
    widening: float
    """Factor on the bootstrap's half width: corrects for small strata and removes the seeds' own part."""
    sources: VarianceComponents
    bounds: tuple[float, float] = UNBOUNDED
    trials: int | None = None
    """Of a share: the groups that it is of. Where all or none of them count, resampling shows no variance, and the
    interval is the exact one of so many groups."""

    def interval(self, confidence: float) -> Interval:
        """The interval over seeds and lesions at once.

        The lesions' part is BCa (Efron 1987) and may be skewed, the seeds' part is Student's t. There are two ways to
        combine them: Satterthwaite's degrees of freedom (1946) cover 92 to 95 % with three seeds, squared half widths
        (Howe 1974; Zou & Donner 2008) 95 to 98 %. We use the mean: 94 to 97 % (`python -m benchmarks.evidence`).
        With infinitely many seeds it is BCa, with infinitely many lesions Student's interval.
        """
        if not len(self.draws) or not np.isfinite(self.mean):
            return Interval(self.mean, -np.inf, np.inf)
        if self.trials and self.mean in SHARE_ENDS:
            return exact_interval(self.mean, self.trials, confidence)
        ends = bca_ends(self.draws, self.mean, self.acceleration, confidence)
        below, above = (
            self._reach(max(0.0, reach), confidence) for reach in (self.mean - ends[0], ends[1] - self.mean)
        )
        return Interval(self.mean, max(self.mean - below, self.bounds[0]), min(self.mean + above, self.bounds[1]))

    def _reach(self, lesions: float, confidence: float) -> float:
        """Half width of one side: the bootstrap's, combined with the seeds'."""
        tail, sources = (1 + confidence) / 2, self.sources
        error = lesions * self.widening / ndtri(tail)  # a standard error, of this side
        freedom = sources.freedom, sources.lesions, sources.seeds - 1
        return float(_combine(error, sources.by_seeds, freedom, tail))

    def p_value(self, null: float = 0.0) -> float:
        """1 minus the highest confidence whose interval excludes `null`, so that test and interval always agree.

        Two-sided, at least 2 / (R + 1); 1 where the interval is not known.
        """
        if not self.interval(0.5).known:
            return 1.0
        excluded, included = 0.0, 1.0  # confidence at which the interval excludes null, and includes it
        while included - excluded > 1e-7:
            middle = (excluded + included) / 2
            found = self.interval(middle)
            inside = found.low <= null <= found.high
            excluded, included = (excluded, middle) if inside else (middle, included)
        return max(1 - excluded, 2 / (len(self.draws) + 1))


def exact_interval(share: float, trials: int, confidence: float) -> Interval:
    """The exact interval of a share of 0 or 1 in `trials` independent lesions or patients (Clopper & Pearson 1934)."""
    reach = float(((1 - confidence) / 2) ** (1 / trials))
    return Interval(share, reach, 1.0) if share else Interval(share, 0.0, 1 - reach)


def combined_reach(
    by_lesions: Array | float, by_seeds: Array | float, lesions: float, seeds: int, confidence: float
) -> Array:
    """Half width of `Estimate.interval` without skewness; the standard errors may be arrays that broadcast.

    Args:
        by_lesions: standard error that all seeds share.
        by_seeds: standard error of training.
        lesions: degrees of freedom of `by_lesions`.
        seeds: degrees of freedom of `by_seeds`: number of seeds minus one.
        confidence: in (0, 1).
    """
    errors = np.asarray(by_lesions, float), np.asarray(by_seeds, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.hypot(*errors) ** 4 / (errors[0] ** 4 / lesions + errors[1] ** 4 / max(seeds, 1))
    return _combine(*errors, (freedom, lesions, seeds), (1 + confidence) / 2)


def _combine(by_lesions: Any, by_seeds: Any, freedom: tuple[Any, Any, Any], tail: float) -> Array:
    """Half width from two standard errors; degrees of freedom of both together, of lesions, of seeds."""
    joint, *alone = (stdtrit(each, tail) for each in freedom)
    whole = joint * np.hypot(by_lesions, by_seeds)
    apart = np.hypot(alone[0] * by_lesions, alone[1] * by_seeds)
    return np.asarray(np.where(np.asarray(by_seeds) > 0, (whole + apart) / 2, whole))


def bca_ends(draws: Array, mean: float, acceleration: float, confidence: float) -> tuple[float, float]:
    """Ends of the bias-corrected and accelerated bootstrap interval (Efron 1987; as scipy.stats.bootstrap's BCa)."""
    below = ((draws < mean).mean() + (draws <= mean).mean()) / 2
    room = 0.5 / len(draws)
    bias = ndtri(np.clip(below, room, 1 - room))
    shifted = bias + ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    places = ndtr(bias + shifted / np.maximum(1 - acceleration * shifted, 0.05))
    low, high = np.quantile(draws, places)
    return float(low), float(high)


def estimate(
    samples: Sequence[Sample], strata: Array, bounds: tuple[float, float] = UNBOUNDED, trials: int | None = None
) -> Estimate:
    """A metric's mean over seeds.

    Args:
        samples: one a seed, of the same design.
        strata: (G,) of the design.
        bounds: of the metric; the interval stays inside.
        trials: of a share: the number of groups that it is of; see `Estimate.trials`.
    """
    values = np.array([sample.value for sample in samples])  # (S,)
    resampled = np.stack([sample.resampled for sample in samples])  # (S, R)
    resampled = resampled[:, np.isfinite(resampled).all(0)]
    influence = influences(np.mean([sample.omitted for sample in samples], axis=0), strata)  # (G,)
    acceleration, small, freedom = _influence_moments(influence, strata)
    shared, whole, interplay = _lesion_variance(resampled)
    between = _between(values, interplay)
    sources = VarianceComponents(
        by_lesions=float(small * np.sqrt(shared)),
        by_seeds=float(np.sqrt(between / len(values))),
        training=float(np.sqrt(max(0.0, between - interplay))),
        interplay=float(np.sqrt(interplay)),
        seeds=len(values),
        lesions=freedom,
    )
    widening = float(small * np.sqrt(shared / whole)) if whole > 0 else 1.0
    return Estimate(
        mean=float(values.mean()),
        draws=np.sort(resampled.mean(0)),
        acceleration=acceleration,
        widening=widening,
        sources=sources,
        bounds=bounds,
        trials=trials,
    )


def _between(values: Array, interplay: float) -> float:
    """Between-seed variance of values (S,); where all are equal up to rounding, the interaction with lesions."""
    if len(values) < 2:
        return 0.0
    rounding = (8 * EPSILON * max(1.0, float(np.abs(values).max()))) ** 2
    found = float(values.var(ddof=1))
    return interplay if found <= rounding else found


def influences(omitted: Array, strata: Array) -> Array:
    """(G,) influence of each group on a metric, from its values without each group; squares sum to the variance."""
    sizes = np.bincount(strata)[strata]  # (G,)
    known = np.where(np.isfinite(omitted), omitted, np.nanmean(omitted) if np.isfinite(omitted).any() else 0.0)
    means = np.bincount(strata, weights=known)[strata] / sizes
    return np.asarray((sizes - 1) / sizes * (means - known))


def _influence_moments(influence: Array, strata: Array) -> tuple[float, float, float]:
    """BCa's acceleration, the standard error's correction for small strata (n / (n - 1)), and degrees of freedom."""
    sizes, squares = np.bincount(strata), np.bincount(strata, weights=influence**2)
    total = squares.sum()
    if not total > 0:
        return 0.0, 1.0, np.inf
    free = np.maximum(sizes - 1, 1)
    whole = squares * np.where(sizes > 1, sizes / free, 1)  # the strata's variances, unbiased
    acceleration = (influence**3).sum() / total**1.5 / 6  # (Davison & Hinkley 1997, section 5.3.2)
    freedom = whole.sum() ** 2 / (whole**2 / free).sum()
    return float(acceleration), float(np.sqrt(whole.sum() / total)), float(freedom)


def _lesion_variance(resampled: Array) -> tuple[float, float, float]:
    """Variances over resamples (S, R): shared by all seeds, of the mean over seeds, and of a seed alone."""
    if not resampled.shape[1]:
        return 0.0, 0.0, 0.0
    whole, each, seeds = float(resampled.mean(0).var()), float(resampled.var(1).mean()), len(resampled)
    if seeds < 2:
        return whole, whole, 0.0
    shared = min(max(0.0, (seeds * whole - each) / (seeds - 1)), whole)  # the mean covariance of two seeds
    return shared, whole, max(0.0, each - shared)
