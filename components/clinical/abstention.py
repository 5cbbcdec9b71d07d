"""When the model may say that it does not know: risk against coverage, and sets that hold the truth as promised.

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
from components.statistics.resampled import SHARE, Resampled, Said
from components.statistics.weighting import ratio, weighted_mean

Array = npt.NDArray[Any]

COVERAGES = np.linspace(0.05, 1, 20)
"""Shares of images answered, at which the risk is drawn."""


REFUTED = 0.025
"""Chance below which a promise counts as broken."""


BLOCK = 128
"""Columns that are worked on at once."""


@dataclass(frozen=True)
class Selective:
    """Errors among the images that are answered, the surest first."""

    area: Interval  # mean risk over all coverages: lower is better
    best_area: float  # were every right answer surer than every wrong one
    coverages: tuple[float, ...]
    risks: tuple[Interval, ...]  # at each coverage
    promised: float  # coverage for which val chose a threshold
    coverage: Interval  # what that threshold answers on test
    risk: Interval  # and how often it errs there


@dataclass(frozen=True)
class Sets:
    """Split conformal sets: the classes that cannot be ruled out, with coverage checked on test."""

    kind: str  # `all classes alike`, or `class by class`
    promised: float
    calibration: int  # val lesions that set the limits
    coverage: Interval  # share of lesions whose set holds the truth, each lesion one vote
    size: Interval  # mean number of classes
    single: Interval  # share of sets of one class
    empty: Interval  # share of sets of none
    by_class: Mapping[str, Interval]  # coverage of the lesions of a class
    chance: float  # of so low a coverage, were the promise true; class by class: of the least likely one

    @property
    def kept(self) -> bool:
        """Whether test does not refute the promise, at one in forty."""
        return self.chance >= REFUTED


# --- risk against coverage


def risk_and_coverage(sureness: Array, wrong: Array, weights: Array) -> tuple[Array, Array]:
    """Risk and coverage when all images at least so sure are answered, one row a distinct sureness, (U, C) each.

    Images that are equally sure come together, since no threshold parts them.
    """
    order = np.argsort(-sureness, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(sureness[order]) != 0, True))  # (U,) the last of each sureness
    ordered = weights[order]  # integers: sums are exact in float32
    answered, errors = (np.cumsum(each, axis=0)[ends] for each in (ordered, ordered * wrong[order, None]))
    return errors / np.maximum(answered, 1).astype(np.float64), answered / answered[-1].astype(np.float64)


def area(risk: Array, coverage: Array) -> Array:
    """The mean risk over coverages, (C,) (AURC; Geifman, Uziel & El-Yaniv 2019, eq. 2)."""
    return np.asarray((risk * np.diff(coverage, axis=0, prepend=0)).sum(0))


def risk_at(risk: Array, coverage: Array, wanted: Array) -> Array:
    """Risk at the least coverage that is at least `wanted` (M,), (M, C)."""
    columns = [np.searchsorted(each, wanted - 1e-9) for each in np.ascontiguousarray(coverage.T)]
    below = np.stack(columns, axis=1).clip(max=len(risk) - 1)  # (M, C)
    return np.take_along_axis(risk, below, axis=0)


def coverage_threshold(sureness: Array, coverage: float) -> float:
    """The sureness at or above which `coverage` of the images stands."""
    enough = int(np.ceil(coverage * len(sureness) - 1e-9))
    return float(np.sort(sureness)[::-1][enough - 1])


def best_area(wrong: Array) -> float:
    """The area when the errors are the least sure images."""
    perfect = risk_and_coverage(-np.arange(len(wrong)), np.sort(wrong), np.ones((len(wrong), 1)))
    return float(area(*perfect)[0])


@dataclass(frozen=True)
class Turns:
    """What happens as less and less sure images are answered, by seed and column."""

    areas: Array  # (S, C)
    risks: Array  # (S, M, C) at COVERAGES


def take_turns(sample: Resampled, test: Sequence[Array]) -> Turns:
    """Area and risks of each seed in every column."""
    found = [_in_blocks(p.max(1), p.argmax(1) != sample.labels, sample.weights) for p in test]
    return Turns(np.stack([each for each, _ in found]), np.stack([each for _, each in found]))


def _in_blocks(sureness: Array, wrong: Array, weights: Array) -> tuple[Array, Array]:
    """(C,) and (M, C); a block of columns stays in the processor's cache."""
    starts = range(0, weights.shape[1], BLOCK)
    areas, risks = [], []
    for start in starts:
        curve = risk_and_coverage(sureness, wrong, weights[:, start : start + BLOCK])
        areas.append(area(*curve))
        risks.append(risk_at(*curve, COVERAGES))
    return np.concatenate(areas), np.concatenate(risks, axis=1)


def select(sample: Resampled, val: Sequence[Array], test: Sequence[Array], turns: Turns, promised: float) -> Selective:
    """The risk at every coverage, and with the threshold at which val answers `promised` of its images."""
    chosen = [coverage_threshold(p.max(1), promised) for p in val]
    answers = np.stack([p.max(1) >= line for p, line in zip(test, chosen, strict=True)])  # (S, N)
    wrong = np.stack([p.argmax(1) != sample.labels for p in test])
    kept = answers.astype(np.float32) @ sample.weights
    return Selective(
        sample.interval(turns.areas, SHARE),
        float(np.mean([best_area(each) for each in wrong])),
        tuple(COVERAGES.tolist()),
        sample.intervals(turns.risks, SHARE),
        promised,
        sample.interval(weighted_mean(answers, sample.weights), SHARE),
        sample.interval(ratio((answers & wrong).astype(np.float32) @ sample.weights, kept), SHARE),
    )


# --- conformal sets


def one_a_group(groups: Array, rng: np.random.Generator) -> Array:
    """One image of each lesion at random, (G,): images of one lesion are not exchangeable, lesions are.

    Subsampling once keeps the guarantee of a finite sample (Dunn, Wasserman & Ramdas 2023, section 3.2).
    """
    order = rng.permutation(len(groups))
    return np.sort(order[np.unique(groups[order], return_index=True)[1]])


def limit(scores: Array, miss: float) -> float:
    """The ceil((n + 1)(1 - miss))-th smallest score; infinite where n is too small to rule anything out.

    A new score is at most this with probability at least 1 - miss (Vovk, Gammerman & Shafer 2005; Lei et al. 2018).
    """
    place = int(np.ceil((len(scores) + 1) * (1 - miss) - 1e-9))
    return float(np.sort(scores)[place - 1]) if place <= len(scores) else float("inf")


def limits(labels: Array, p: Array, miss: float, by_class: bool) -> Array:
    """(K,) the highest `1 - p_k` with which class k stays in a set; by class each keeps the promise by itself."""
    scores = 1 - p[np.arange(len(labels)), labels]
    if not by_class:
        return np.full(p.shape[1], limit(scores, miss))
    return np.array([limit(scores[labels == k], miss) for k in range(p.shape[1])])


def chance_of_so_few(coverage: float, lesions: int, calibration: int, miss: float) -> float:
    """Chance that so few of the test `lesions` are held although the promise is true.

    The luck of val is in it as that of test: over both, the count is beta-binomial (Vovk 2012, proposition 2a).
    """
    place = int(np.ceil((calibration + 1) * (1 - miss) - 1e-9))
    if place > calibration or not lesions:
        return 1.0  # nothing is ruled out, or nothing was seen
    return float(betabinom.cdf(round(coverage * lesions), lesions, place, calibration + 1 - place))


def conformal(
    sample: Resampled,
    val: Said,
    test: Sequence[Array],
    classes: Sequence[str],
    miss: float,
    by_class: bool,
    rng: np.random.Generator,
) -> Sets:
    """Limits from one val image a lesion, sets on test; each test lesion has one vote."""
    chosen = one_a_group(val.groups, rng)
    labels = val.labels[chosen]
    bounds = [limits(labels, p[chosen], miss, by_class) for p in val.p]
    sets = np.stack([1 - p <= bound for p, bound in zip(test, bounds, strict=True)])  # (S, N, K)
    held, sizes = sets[:, np.arange(len(sample.labels)), sample.labels], sets.sum(2)  # (S, N)
    everyone = np.ones(len(sample.labels), bool)
    of_class = {name: _vote(sample, held, sample.labels == k) for k, name in enumerate(classes)}
    coverage = _vote(sample, held, everyone)
    return Sets(
        "class by class" if by_class else "all classes alike",
        1 - miss,
        len(chosen),
        coverage,
        _vote(sample, sizes, everyone, len(classes)),
        _vote(sample, sizes == 1, everyone),
        _vote(sample, sizes == 0, everyone),
        of_class,
        _chance(sample, labels, list(of_class.values()) if by_class else [coverage], miss),
    )


def _vote(sample: Resampled, values: Array, images: Array, top: float = 1.0) -> Interval:
    """The mean of `values` (S, N) over lesions, of those `images` (N,) alone."""
    counted = np.concatenate([values * images, images[None]]).astype(np.float32) @ sample.votes  # (S + 1, C)
    return sample.interval(ratio(counted[:-1], counted[-1]), (0.0, top))


def _chance(sample: Resampled, val_labels: Array, coverages: Sequence[Interval], miss: float) -> float:
    """Of one promise for all, or of the least likely class's, times the number of classes (Bonferroni)."""
    if len(coverages) == 1:
        return chance_of_so_few(coverages[0].mean, len(set(sample.groups)), len(val_labels), miss)
    lesions = [len(set(sample.groups[sample.labels == k])) for k in range(len(coverages))]
    counts = np.bincount(val_labels, minlength=len(coverages)).tolist()
    cells = zip(coverages, lesions, counts, strict=True)
    return min(1.0, len(coverages) * min(chance_of_so_few(c.mean, m, n, miss) for c, m, n in cells))
