"""Where two learning curves cross, with an interval over seeds and test lesions.

Letters: P shares of the train lesions (the last is all of them), S seeds, C columns of `bootstrap.Design` (the test
lesions as they are, R resamples, each lesion left out). Between two shares a curve is a straight line over
log2(share); nothing is estimated outside the shares that were trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from components.statistics import intervals
from components.statistics.resampled import Resampled
from components.statistics.weighting import Array


class ShareOutcome(StrEnum):
    """What is known of a position on the axis of shares."""

    WITHIN = "within the range"
    BELOW = "below the smallest share"
    BEYOND = "not with all lesions"
    OPEN = "not decided"
    TOO_FEW_SEEDS = "not decided: too few seeds"


@dataclass(frozen=True)
class ShareEstimate:
    """A share of the train lesions with its interval; -inf is below the smallest share, inf above all lesions."""

    share: float
    """Where the mean curves have it."""
    low: float
    high: float
    below: float
    """Fraction of the draws that have it below the smallest share."""
    beyond: float
    """Fraction of the draws that have it above all lesions."""
    outcome: ShareOutcome

    @property
    def outside(self) -> float:
        """Fraction of the draws that do not have it within the range."""
        return self.below + self.beyond


@dataclass(frozen=True)
class CurveComparison:
    """The learning curve of one arm against that of the reference, in one metric."""

    arm: str
    metric: str
    ahead: bool
    """True if the arm's mean is the higher one with all lesions; gives the direction of the crossing."""
    crossing: ShareEstimate
    """With a larger share the arm is what `ahead` says, with a smaller one the opposite."""
    turns: int
    """How often the two mean curves cross."""
    enough: ShareEstimate
    """The share with which the arm reaches what the reference reaches with all lesions (label saving)."""


@dataclass(frozen=True)
class SeedNoise:
    """Random numbers for the between-seed variance, shared by all curves so that draws of two curves are paired."""

    steps: Array  # (S, R) standard normal
    scale: Array  # (R,) root of chi-squared over its degrees of freedom; ones for a single seed


def draw_seed_noise(seeds: int, resamples: int, rng: np.random.Generator) -> SeedNoise:
    """Drawn once for all curves of a study."""
    scale = np.sqrt(rng.chisquare(max(1, seeds - 1), resamples) / max(1, seeds - 1))
    return SeedNoise(rng.normal(size=(seeds, resamples)), scale if seeds > 1 else np.ones(resamples))


def draw_curves(by_seed: Array, test: Resampled, noise: SeedNoise) -> tuple[Array, Array]:
    """Resample a learning curve over seeds and test lesions.

    Lesions: the bootstrap, widened as in `intervals.Estimate`. Seeds: three values drawn with replacement never leave
    their range. So the seeds' deviations are summed with normal steps over a common chi instead, which gives a
    multivariate t with the seeds' own covariance over shares, and Student's t at each share.

    Args:
        by_seed: (S, P, C) a metric, or a difference of metrics.
        test: the resampled test images.
        noise: of the study.

    Returns:
        The mean over seeds (P,) and R draws of it (P, R).
    """
    seeds, shares, _ = by_seed.shape
    mean = by_seed[:, :, 0].mean(0)  # (P,)
    resampled = by_seed[:, :, 1 : 1 + test.design.resamples].mean(0)  # (P, R)
    widening = [test.estimate(by_seed[:, place], intervals.UNBOUNDED).widening for place in range(shares)]
    draws = mean[:, None] + np.array(widening)[:, None] * (resampled - mean[:, None])
    if seeds > 1:
        deviations = by_seed[:, :, 0] - mean  # (S, P)
        draws = draws + (deviations.T @ noise.steps) / np.sqrt(seeds * (seeds - 1)) / noise.scale
    return mean, draws


def compare_curves(
    arm: str,
    metric: str,
    own: Array,
    reference: Array,
    *,
    shares: Array,
    test: Resampled,
    noise: SeedNoise,
    min_seeds: int,
) -> CurveComparison:
    """Crossing and label saving of an arm against the reference.

    Args:
        arm: its name.
        metric: its name.
        own: (S, P, C) the metric of the arm.
        reference: (S, P, C) the metric of the reference.
        shares: (P,) of the train lesions, rising, the last is 1.
        test: the resampled test images, with the confidence of the intervals.
        noise: of the study.
        min_seeds: with fewer seeds nothing is decided.
    """
    decides = len(own) >= min_seeds
    mean, draws = draw_curves(own - reference, test, noise)
    side = 1.0 if mean[-1] >= 0 else -1.0  # the arm's with all lesions
    lag, lags = draw_curves(own - reference[:, -1:], test, noise)
    return CurveComparison(
        arm,
        metric,
        ahead=side > 0,
        crossing=locate(shares, side * mean, side * draws, test.confidence, decides=decides, strict=True),
        turns=_sign_changes(mean),
        enough=locate(shares, lag, lags, test.confidence, decides=decides, strict=False),
    )


def _sign_changes(differences: Array) -> int:
    signs = np.sign(differences[differences != 0])
    return int((signs[1:] != signs[:-1]).sum())


def locate(
    shares: Array, mean: Array, draws: Array, confidence: float, *, decides: bool, strict: bool
) -> ShareEstimate:
    """From which share on a curve stays positive, with an interval.

    Each curve is made non-decreasing first: noise at one point would otherwise count as a crossing of its own, and the
    last of several crossings lies too far to the right.

    Args:
        shares: (P,) rising.
        mean: (P,) the curve.
        draws: (P, R) of the curve.
        confidence: of the interval.
        decides: False if there are too few seeds.
        strict: True for a crossing (zero is not yet ahead), False for reaching a level (zero is enough).
    """
    share = float(_positive_from(shares, mean[:, None], strict)[0])
    found = np.sort(_positive_from(shares, draws[:, np.isfinite(draws).all(0)], strict))
    tail = (1 - confidence) / 2 * (len(found) - 1)
    low, high = float(found[int(np.floor(tail))]), float(found[int(np.ceil(len(found) - 1 - tail))])
    below, beyond = float(np.isneginf(found).mean()), float(np.isposinf(found).mean())
    outcome = _outcome(share, low, high, strict) if decides else ShareOutcome.TOO_FEW_SEEDS
    return ShareEstimate(share=share, low=low, high=high, below=below, beyond=beyond, outcome=outcome)


def _positive_from(shares: Array, values: Array, strict: bool) -> Array:
    """`root` of non-decreasing `values` (P, R), (R,); inf also where pooling is positive but the last value is not."""
    found = root(shares, rising(values), strict=strict)
    return np.where(strict & np.isneginf(found) & (values[-1] <= 0), np.inf, found)


def _outcome(share: float, low: float, high: float, strict: bool) -> ShareOutcome:
    """`strict`: a crossing, which stays undecided for curves that are equal with all lesions."""
    if np.isfinite([share, low, high]).all():
        return ShareOutcome.WITHIN
    if share == high == -np.inf:
        return ShareOutcome.BELOW
    return ShareOutcome.BEYOND if share == low == np.inf and not strict else ShareOutcome.OPEN


def root(shares: Array, values: Array, *, strict: bool) -> Array:
    """The last share at which each of `values` (P, R) becomes positive and stays so, (R,), linear in log2(share).

    -inf where it is positive from the first share on, inf where it is not positive at the last. Zero counts as
    positive unless `strict`.
    """
    above = values > 0 if strict else values >= 0  # (P, R)
    last = len(shares) - 1 - np.argmin(above[::-1], axis=0)  # (R,) the last share at which it is not
    before = np.minimum(last, len(shares) - 2)
    columns = np.arange(values.shape[1])
    low, high = values[before, columns], values[before + 1, columns]
    steps = np.log2(shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        way = np.nan_to_num(low / (low - high)).clip(0, 1)  # used only where the curve crosses
    place = 2 ** (steps[before] + way * (steps[before + 1] - steps[before]))
    found = np.where(above.all(0), -np.inf, place)
    return np.asarray(np.where(above[-1], found, np.inf))


def rising(values: Array) -> Array:
    """Each column of (P, R) as the nearest non-decreasing curve: isotonic regression by the min-max formula.

    It assumes that more labels do no harm, and that an arm's advantage changes in one direction with the number of
    labels (Barlow et al. 1972, theorem 1.9).
    """
    count = len(values)
    sums = np.vstack([np.zeros(values.shape[1]), values.cumsum(0)])
    means = {
        (start, end): (sums[end + 1] - sums[start]) / (end + 1 - start)
        for start in range(count)
        for end in range(start, count)
    }
    least = [
        [np.min([means[start, end] for end in range(at, count)], 0) for start in range(at + 1)] for at in range(count)
    ]
    return np.stack([np.max(each, 0) for each in least])
