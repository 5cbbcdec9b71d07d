"""Split conformal sets: the classes that cannot be excluded, so that a promised share of lesions keeps its true class.

Letters: N images, K classes, S seeds, C columns of resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom

from components.statistics.intervals import Interval
from components.statistics.resampled import Resampled, SeedPredictions
from components.statistics.weighting import ratio

Array = npt.NDArray[Any]

REFUTED = 0.025
"""Probability below which a promise counts as broken."""


@dataclass(frozen=True)
class ConformalSets:
    """Prediction sets with limits from val, and their coverage on test."""

    kind: str
    """`marginal`: one limit for all classes; `by class`: each class has its own."""
    promised: float
    """Share of lesions whose set holds the true class."""
    calibration: int
    """Val lesions that set the limits."""
    coverage: Interval
    """On test; each lesion counts once."""
    size: Interval
    """Mean number of classes."""
    single: Interval
    """Share of sets with one class."""
    empty: Interval
    """Share of sets with no class."""
    by_class: Mapping[str, Interval]
    """Coverage of the lesions of a class."""
    chance: float
    """Probability of so low a coverage if the promise holds; by class: of the least probable one."""

    @property
    def refuted(self) -> bool:
        """Whether the test images refute the promise, at the level REFUTED."""
        return self.chance < REFUTED

    @property
    def judgement(self) -> str:
        """What test says of the promise; a coverage below it that few lesions cannot refute is no success."""
        if self.refuted:
            return "refuted"
        if self.coverage.mean >= self.promised:
            return "not refuted"
        return "below the promise, not refuted: too few lesions to tell"


def one_a_group(groups: Array, rng: np.random.Generator) -> Array:
    """One random image of each lesion, (G,): images of one lesion are not exchangeable, lesions are.

    Subsampling once keeps the finite-sample guarantee (Dunn, Wasserman & Ramdas 2023, section 3.2).
    """
    order = rng.permutation(len(groups))
    return np.sort(order[np.unique(groups[order], return_index=True)[1]])


def limit(scores: Array, miss: float) -> float:
    """The ceil((n + 1)(1 - miss))-th smallest score; infinite where n is too small to exclude anything.

    A new score is at most this with probability at least 1 - miss (Vovk, Gammerman & Shafer 2005; Lei et al. 2018).
    """
    place = int(np.ceil((len(scores) + 1) * (1 - miss) - 1e-9))
    return float(np.sort(scores)[place - 1]) if place <= len(scores) else float("inf")


def limits(labels: Array, p: Array, miss: float, by_class: bool) -> Array:
    """(K,) the highest `1 - p_k` with which class k stays in a set; by class, each class has its own guarantee."""
    scores = 1 - p[np.arange(len(labels)), labels]
    if not by_class:
        return np.full(p.shape[1], limit(scores, miss))
    return np.array([limit(scores[labels == k], miss) for k in range(p.shape[1])])


def chance_of_so_few(coverage: float, lesions: int, calibration: int, miss: float) -> float:
    """Probability that so few test lesions are covered if the promise holds.

    Over the draws of val and of test, the count is beta-binomial (Vovk 2012, proposition 2a).

    Args:
        coverage: observed share, in [0, 1].
        lesions: test lesions.
        calibration: val lesions that set the limit.
        miss: promised share of lesions whose set may lack the true class.
    """
    place = int(np.ceil((calibration + 1) * (1 - miss) - 1e-9))
    if place > calibration or not lesions:
        return 1.0  # nothing is excluded, or nothing was observed
    return float(betabinom.cdf(round(coverage * lesions), lesions, place, calibration + 1 - place))


def conformal(
    sample: Resampled,
    val: SeedPredictions,
    test: Sequence[Array],
    *,
    classes: Sequence[str],
    miss: float,
    by_class: bool,
    rng: np.random.Generator,
) -> ConformalSets:
    """Limits from one val image a lesion, sets and their coverage on test, where each lesion counts once.

    Args:
        sample: the test images and their resamples.
        val: images of val with their probabilities.
        test: (N, K) probabilities a seed.
        classes: in the order of the probabilities.
        miss: share of lesions whose set may lack the true class, in (0, 1).
        by_class: whether each class has its own limit.
        rng: draws the val image of each lesion.
    """
    chosen = one_a_group(val.groups, rng)
    labels = val.labels[chosen]
    bounds = [limits(labels, p[chosen], miss, by_class) for p in val.p]
    sets = np.stack([1 - p <= bound for p, bound in zip(test, bounds, strict=True)])  # (S, N, K)
    covered, sizes = sets[:, np.arange(len(sample.labels)), sample.labels], sets.sum(2)  # (S, N)
    everyone = np.ones(len(sample.labels), bool)
    of_class = {name: _by_lesion(sample, covered, sample.labels == k) for k, name in enumerate(classes)}
    coverage = _by_lesion(sample, covered, everyone)
    return ConformalSets(
        kind="by class" if by_class else "marginal",
        promised=1 - miss,
        calibration=len(chosen),
        coverage=coverage,
        size=_by_lesion(sample, sizes, everyone, len(classes)),
        single=_by_lesion(sample, sizes == 1, everyone),
        empty=_by_lesion(sample, sizes == 0, everyone),
        by_class=of_class,
        chance=_chance(sample, labels, list(of_class.values()) if by_class else [coverage], miss),
    )


def _by_lesion(sample: Resampled, values: Array, images: Array, top: float = 1.0) -> Interval:
    """The mean of `values` (S, N) over lesions, of those `images` (N,) bool alone; `top` is the highest value."""
    counted = np.concatenate([values * images, images[None]]).astype(np.float32) @ sample.votes  # (S + 1, C)
    trials = sample.count_groups(images) if top == 1 else None
    return sample.interval(ratio(counted[:-1], counted[-1]), (0.0, top), trials)


def _chance(sample: Resampled, val_labels: Array, coverages: Sequence[Interval], miss: float) -> float:
    """Of one promise for all, or of the least probable class's, times the number of classes (Bonferroni)."""
    if len(coverages) == 1:
        return chance_of_so_few(coverages[0].mean, len(set(sample.groups)), len(val_labels), miss)
    lesions = [len(set(sample.groups[sample.labels == k])) for k in range(len(coverages))]
    counts = np.bincount(val_labels, minlength=len(coverages)).tolist()
    cells = zip(coverages, lesions, counts, strict=True)
    return min(1.0, len(coverages) * min(chance_of_so_few(c.mean, m, n, miss) for c, m, n in cells))
