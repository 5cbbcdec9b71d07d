"""How sure a number is: intervals and p-values that know two kinds of luck, the seeds' and the test lesions'.

Letters: N images, K classes, G groups (lesions or patients), R resamples, S seeds. A resample is a column of
weights: how often each image counts in it. Every metric below takes those weights and answers for all columns at
once; with weights of one it is the ordinary metric.

The way: `lay_out` draws whole groups again, stratified by class (bootstrap), and leaves out each group once
(jackknife). `Design.apply` measures one run in all of them, `estimate` joins the seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from components.statistics.bootstrap import Sample
from components.statistics.weighting import Array

UNBOUNDED = (-np.inf, np.inf)

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Interval:
    """A mean and the range around it; unbounded where nothing is known about its spread."""

    mean: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether the range says anything: False for a single seed."""
        return bool(np.isfinite([self.mean, self.low, self.high]).all())


def student_interval(values: Array, confidence: float) -> Interval:
    """The mean of a few independent values (seeds) with Student's t interval; one value is unbounded."""
    values = np.asarray(values, float)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    reach = float(student.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - reach, mean + reach)


def relative_change(first: float, last: float) -> float:
    """The change in shares of the first value, as the paper counts it: 0.45 to 0.65 is +0.444; NaN from zero."""
    return last / first - 1 if first else float("nan")


@dataclass(frozen=True)
class Sources:
    """Where the uncertainty of a mean over seeds comes from; the two standard errors add up in squares."""

    by_lesions: float  # standard error that all seeds share: the test images' luck
    by_seeds: float  # standard error of training, 0 for a single seed: between seeds, over the root of their number
    training: float  # standard deviation of a seed on endless lesions
    interplay: float  # standard deviation of a seed because of which lesions are in the test
    seeds: int
    lesions: float  # degrees of freedom of by_lesions: the groups that count, less one a stratum

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
        """How far the interval would reach, were the lesions or the seeds the only luck; NaN where one is not known."""
        parts = [(self.by_lesions, self.lesions), (self.by_seeds, self.seeds - 1)]
        tail = (1 + confidence) / 2
        first, second = (error * student.ppf(tail, free) if free > 0 else np.nan for error, free in parts)
        return float(first), float(second)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with all that is needed for an interval at any confidence, and so for a p-value."""

    mean: float
    draws: Array  # (R,) means over seeds in each resample, those that are known
    acceleration: float
    widening: float  # of the bootstrap's reach: small strata, and what is the seeds' own
    sources: Sources
    bounds: tuple[float, float] = UNBOUNDED

    def interval(self, confidence: float) -> Interval:
        """Seeds and lesions at once.

        The lesions' part is BCa (Efron 1987) and may be skewed, the seeds' part is Student's t. Two ways to add
        them: Satterthwaite's degrees of freedom (1946) cover 92 to 95 % with three seeds, squared reaches (Howe
        1974; Zou & Donner 2008) 95 to 98 %. We take the middle: 94 to 97 % (`python -m benchmarks.evidence`). With
        endless seeds it is BCa, with endless lesions Student's interval.
        """
        if not len(self.draws) or not np.isfinite(self.mean):
            return Interval(self.mean, -np.inf, np.inf)
        ends = bca_ends(self.draws, self.mean, self.acceleration, confidence)
        below, above = (
            self._reach(max(0.0, reach), confidence) for reach in (self.mean - ends[0], ends[1] - self.mean)
        )
        return Interval(self.mean, max(self.mean - below, self.bounds[0]), min(self.mean + above, self.bounds[1]))

    def _reach(self, lesions: float, confidence: float) -> float:
        """One side's reach of the bootstrap, joined with the seeds'."""
        tail, sources = (1 + confidence) / 2, self.sources
        error = lesions * self.widening / norm.ppf(tail)  # a standard error, of this side
        joint = student.ppf(tail, sources.freedom) * np.hypot(error, sources.by_seeds)
        if not sources.by_seeds:
            return float(joint)
        apart = student.ppf(tail, sources.lesions) * error, student.ppf(tail, sources.seeds - 1) * sources.by_seeds
        return float((joint + np.hypot(*apart)) / 2)

    def p_value(self, null: float = 0.0) -> float:
        """1 minus the highest confidence whose interval leaves `null` out: test and interval never disagree.

        Two-sided; no smaller than two of the resamples can tell. 1 where nothing is known.
        """
        if not self.interval(0.5).known:
            return 1.0
        sure, unsure = 0.0, 1.0  # confidence at which null is out, and in
        while unsure - sure > 1e-7:
            middle = (sure + unsure) / 2
            found = self.interval(middle)
            sure, unsure = (sure, middle) if found.low <= null <= found.high else (middle, unsure)
        return max(1 - sure, 2 / (len(self.draws) + 1))


def bca_ends(draws: Array, mean: float, acceleration: float, confidence: float) -> tuple[float, float]:
    """Ends of the bias-corrected and accelerated bootstrap interval (Efron 1987; as scipy.stats.bootstrap's BCa)."""
    below = ((draws < mean).mean() + (draws <= mean).mean()) / 2
    room = 0.5 / len(draws)
    bias = norm.ppf(np.clip(below, room, 1 - room))
    shifted = bias + norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    places = norm.cdf(bias + shifted / np.maximum(1 - acceleration * shifted, 0.05))
    low, high = np.quantile(draws, places)
    return float(low), float(high)


def estimate(samples: Sequence[Sample], strata: Array, bounds: tuple[float, float] = UNBOUNDED) -> Estimate:
    """One metric's mean over seeds, a sample each; `strata` are the design's."""
    values = np.array([sample.value for sample in samples])  # (S,)
    resampled = np.stack([sample.resampled for sample in samples])  # (S, R)
    resampled = resampled[:, np.isfinite(resampled).all(0)]
    pull = influences(np.mean([sample.omitted for sample in samples], axis=0), strata)  # (G,)
    acceleration, small, freedom = _shape(pull, strata)
    shared, whole, interplay = _share(resampled)
    between = _between(values, interplay)
    sources = Sources(
        by_lesions=float(small * np.sqrt(shared)),
        by_seeds=float(np.sqrt(between / len(values))),
        training=float(np.sqrt(max(0.0, between - interplay))),
        interplay=float(np.sqrt(interplay)),
        seeds=len(values),
        lesions=freedom,
    )
    widening = float(small * np.sqrt(shared / whole)) if whole > 0 else 1.0
    return Estimate(float(values.mean()), np.sort(resampled.mean(0)), acceleration, widening, sources, bounds)


def _between(values: Array, interplay: float) -> float:
    """Variance of the seeds (S,). Those that agree to the last digit differ at least by what lesions make of each."""
    if len(values) < 2:
        return 0.0
    rounding = (8 * EPSILON * max(1.0, float(np.abs(values).max()))) ** 2
    found = float(values.var(ddof=1))
    return interplay if found <= rounding else found


def influences(omitted: Array, strata: Array) -> Array:
    """(G,) how far each group pulls the metric, from its values without each: their squares add up to its variance."""
    sizes = np.bincount(strata)[strata]  # (G,)
    known = np.where(np.isfinite(omitted), omitted, np.nanmean(omitted) if np.isfinite(omitted).any() else 0.0)
    means = np.bincount(strata, weights=known)[strata] / sizes
    return np.asarray((sizes - 1) / sizes * (means - known))


def _shape(pull: Array, strata: Array) -> tuple[float, float, float]:
    """BCa's acceleration, the factor by which drawing n of n falls short of n - 1, and the degrees of freedom."""
    sizes, squares = np.bincount(strata), np.bincount(strata, weights=pull**2)
    total = squares.sum()
    if not total > 0:
        return 0.0, 1.0, np.inf
    free = np.maximum(sizes - 1, 1)
    whole = squares * np.where(sizes > 1, sizes / free, 1)  # the strata's variances, unbiased
    acceleration = (pull**3).sum() / total**1.5 / 6  # (Davison & Hinkley 1997, section 5.3.2)
    freedom = whole.sum() ** 2 / (whole**2 / free).sum()
    return float(acceleration), float(np.sqrt(whole.sum() / total)), float(freedom)


def _share(resampled: Array) -> tuple[float, float, float]:
    """Variance over resamples (S, R) that all seeds share, that of their mean, and each seed's own."""
    if not resampled.shape[1]:
        return 0.0, 0.0, 0.0
    whole, each, seeds = float(resampled.mean(0).var()), float(resampled.var(1).mean()), len(resampled)
    if seeds < 2:
        return whole, whole, 0.0
    shared = min(max(0.0, (seeds * whole - each) / (seeds - 1)), whole)  # the mean covariance of two seeds
    return shared, whole, max(0.0, each - shared)
