"""Known tests of the difference between two arms on the same test lesions, and Holm's correction.

Letters: N images, K classes, G groups (lesions or patients), S seeds, R flips. The tests compare the trained
models: they count between-lesion variance alone. `intervals.Estimate.p_value` counts between-seed variance too and
decides; these are reported next to it, because they are well known and each makes other assumptions.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, norm, rankdata

Array = npt.NDArray[Any]
Key = TypeVar("Key", bound=Hashable)

ROUNDING = 1e-12
"""A share or area below it is zero: where arms are equal, means over seeds that were added in another order differ."""


def sum_by_group(values: Array, groups: Array) -> Array:
    """Sums of values (N,) or (S, N) over the images of each group: (G,) or (S, G), in the order of their names."""
    names, member = np.unique(groups, return_inverse=True)
    rows = values.reshape(-1, len(groups))
    sums = np.stack([np.bincount(member, weights=row, minlength=len(names)) for row in rows])
    return sums.reshape(*values.shape[:-1], len(names))


def balanced_accuracy_terms(labels: Array, probabilities: Array) -> Array:
    """(N,) the contribution of each image to balanced accuracy; the sum is the metric."""
    counts = np.bincount(labels)
    return np.asarray((probabilities.argmax(1) == labels) / counts[labels] / np.count_nonzero(counts))


def permutation_test(differences: Array, flips: int, rng: np.random.Generator) -> float:
    """Paired permutation test: p of a sum this far from zero when the arms are exchanged at random in each group.

    Exact where there are no more than `flips` ways to exchange; else (hits + 1) / (flips + 1) (Phipson & Smyth 2010).

    Args:
        differences: (G,) contribution of each group to arm minus reference.
        flips: random exchanges.
        rng: draws them.
    """
    nonzero = differences[np.abs(differences) > ROUNDING]  # the others contribute nothing in both arms
    observed = abs(nonzero.sum()) * (1 - 1e-12)  # tolerance: the order of adding must not make equal sums differ
    if 2.0 ** len(nonzero) <= flips:
        ways = np.arange(2 ** len(nonzero))[:, None] >> np.arange(len(nonzero)) & 1
        return float(np.mean(abs((1 - 2 * ways) @ nonzero) >= observed))
    signs = 1 - 2 * rng.integers(0, 2, (flips, len(nonzero)), dtype=np.int8)
    return float((1 + np.count_nonzero(abs(signs @ nonzero) >= observed)) / (1 + flips))


@dataclass(frozen=True)
class Mcnemar:
    """Images on which one of two models is right and the other wrong, and the p-value of equal accuracy."""

    ours: float  # images that the arm alone gets right
    theirs: float  # images that the reference alone gets right
    p: float


def mcnemar(ours: Array, theirs: Array) -> Mcnemar:
    """Exact McNemar test (1947), bool (N,) True where the model is right; only for independent images."""
    b, c = int(np.count_nonzero(ours & ~theirs)), int(np.count_nonzero(~ours & theirs))
    return Mcnemar(b, c, min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5))) if b + c else 1.0)


def clustered_mcnemar(ours: Array, theirs: Array, groups: Array) -> Mcnemar:
    """McNemar's test for dependent images of a group (Obuchowski 1998): (sum d)² / sum d² with one degree of freedom.

    `ours` and `theirs` (N,) or (S, N), True where right; d is ours minus theirs of a group, summed over its images and
    seeds, so that a lesion counts once. With one image a group and one seed it is McNemar's chi-square. The counts of
    the result are means over seeds.
    """
    ours, theirs = np.atleast_2d(ours), np.atleast_2d(theirs)
    d = sum_by_group(ours.astype(float) - theirs, groups).sum(0)  # (G,)
    b, c = ((one & ~other).sum(1).mean() for one, other in ((ours, theirs), (theirs, ours)))
    statistic = abs(d.sum()) / np.sqrt((d**2).sum()) if d.any() else 0.0
    return Mcnemar(float(b), float(c), float(2 * norm.sf(statistic)))


def auroc_terms(labels: Array, probabilities: Array, groups: Array) -> tuple[Array, Array]:
    """Areas under the ROC curve (K,), one class against the rest, and each group's term of their error (K, G).

    The sum of the terms' products is the covariance of DeLong et al. (1988), with groups as Obuchowski (1997) has it;
    the factor of the cross term is the root of the product of the two others.
    NaN for a class without images or with all images.
    """
    classes = range(probabilities.shape[1])
    found = [_class_terms(labels == k, probabilities[:, k], groups) for k in classes]
    return np.array([area for area, _ in found]), np.stack([terms for _, terms in found])


def _class_terms(positive: Array, scores: Array, groups: Array) -> tuple[float, Array]:
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return float("nan"), np.full(len(np.unique(groups)), np.nan)
    placed = np.zeros(len(scores))  # share of the other kind that the image is ranked correctly against, ties half
    ranks = rankdata(scores)
    placed[positive] = (ranks[positive] - rankdata(scores[positive])) / n
    placed[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / m
    area = float(placed[positive].mean())
    terms = [
        sum_by_group(np.where(kind, placed - area, 0.0), groups) / kind.sum() * _small_sample_factor(groups[kind])
        for kind in (positive, ~positive)
    ]
    return area, terms[0] + terms[1]


def _small_sample_factor(groups: Array) -> float:
    """Root of I / (I - 1) for I groups; 1 for a single group, whose variance is not known."""
    count = len(np.unique(groups))
    return float(np.sqrt(count / (count - 1))) if count > 1 else 1.0


@dataclass(frozen=True)
class Delong:
    """A difference of macro AUROC, its standard error over lesions, and p of no difference."""

    difference: float
    error: float
    p: float


def delong(labels: Array, ours: Sequence[Array], theirs: Sequence[Array], groups: Array) -> Delong:
    """DeLong's test of two arms' macro AUROC, the mean over the classes that can be ranked and over the seeds.

    `ours` and `theirs` are probabilities (N, K), one a seed. Terms of means are means of terms, so pairing and seeds
    need nothing more. With one seed and two classes it is DeLong's own test. Where no class can be ranked, the
    difference is NaN and p is 1.
    """
    pairs = [[_macro(labels, p, groups) for p in side] for side in (ours, theirs)]  # an area and (G,) terms a seed
    areas = [np.mean([area for area, _ in side]) for side in pairs]
    terms = [np.mean([terms for _, terms in side], axis=0) for side in pairs]
    difference, error = float(areas[0] - areas[1]), float(np.sqrt(((terms[0] - terms[1]) ** 2).sum()))
    if not error > ROUNDING:
        return Delong(difference, error, 0.0 if abs(difference) > ROUNDING else 1.0)  # NaN: nothing shows a difference
    return Delong(difference, error, float(2 * norm.sf(abs(difference) / error)))


def _macro(labels: Array, probabilities: Array, groups: Array) -> tuple[float, Array]:
    areas, terms = auroc_terms(labels, probabilities, groups)
    known = np.isfinite(areas)
    if not known.any():
        return float("nan"), np.zeros(terms.shape[1])
    return float(areas[known].mean()), np.asarray(terms[known].mean(0))


@dataclass(frozen=True)
class AdjustedP:
    """A p-value before and after Holm's correction over its family."""

    p: float
    holm: float


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family, in its order (Holm 1979).

    If those at or below alpha are rejected, at most a share alpha of families has a false rejection.
    """
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, np.maximum.accumulate(np.asarray(p, float)[order] * np.arange(len(p), 0, -1)))
    adjusted = np.empty(len(p))
    adjusted[order] = steps
    return [float(value) for value in adjusted]


def smallest_p(resamples: int) -> float:
    """The smallest two-sided p-value of a bootstrap (`Estimate.p_value`)."""
    return 2 / (resamples + 1)


def smallest_adjusted_p(resamples: int, tests: int) -> float:
    """The smallest p-value that Holm's correction over so many tests can leave to any of them."""
    return min(1.0, tests * smallest_p(resamples))


def resamples_needed(comparisons: int, alpha: float) -> int:
    """The fewest resamples with which the smallest p-value of a family can reach alpha after Holm's correction."""
    needed = max(1, int(2 * comparisons / alpha) - 2)
    while smallest_adjusted_p(needed, comparisons) > alpha:
        needed += 1
    return needed


def holm_by_key(p: Mapping[Key, float]) -> dict[Key, AdjustedP]:
    """Holm's correction of one family of named p-values."""
    return {
        key: AdjustedP(raw, adjusted) for (key, raw), adjusted in zip(p.items(), holm(list(p.values())), strict=True)
    }


def holm_over_all(found: Sequence[Mapping[str, float]], exclusive: Mapping[str, str]) -> list[dict[str, AdjustedP]]:
    """One Holm family over all tests of all comparisons, where some hypotheses of a comparison exclude each other.

    Of hypotheses that exclude each other at most one is true, so they count once (Shaffer 1986). This is the closed
    test with Bonferroni's bound: a hypothesis is rejected where each set of hypotheses that contains it and that can be
    true together has a p-value of at most alpha / its size. Hence Holm's adjusted p-value in a family that has, of each
    other group of exclusive hypotheses, the largest p-value. With alpha, at most a share alpha of studies has any false
    rejection, whatever the question.

    Args:
        found: p-values of each comparison by hypothesis.
        exclusive: the group of a hypothesis; one that is not named is a group of its own.
    """
    groups: dict[tuple[int, str], list[str]] = {}
    for place, each in enumerate(found):
        for name in each:
            groups.setdefault((place, exclusive.get(name, name)), []).append(name)
    largest = {key: max(found[key[0]][name] for name in names) for key, names in groups.items()}
    corrected: list[dict[str, AdjustedP]] = [{} for _ in found]
    for key, names in groups.items():
        others = [p for other, p in largest.items() if other != key]
        for name in names:
            raw = found[key[0]][name]
            corrected[key[0]][name] = AdjustedP(raw, holm([raw, *others])[0])
    return [{name: corrected[place][name] for name in each} for place, each in enumerate(found)]


def holm_by_question(found: Sequence[Mapping[str, float]]) -> list[dict[str, AdjustedP]]:
    """Holm's correction with one family for each question, over all comparisons that test it."""
    corrected: list[dict[str, AdjustedP]] = [{} for _ in found]
    for question in found[0] if found else ():
        for place, tested in holm_by_key(dict(enumerate(each[question] for each in found))).items():
            corrected[place][question] = tested
    return corrected
