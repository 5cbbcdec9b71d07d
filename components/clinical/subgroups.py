"""Subgroups of the test images: each against all other images, and no number from few lesions.

Results are about the models at hand, the mean of all seeds: intervals hold the variance between lesions, and a subgroup
counts as worse only where it is so in each seed. They are not valid for another training.
Letters: N images, K classes, S seeds, C columns of resamples, D differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from components.clinical.attributes import NAMES, THIRDS, UNKNOWN, hidden_sizes
from components.statistics.intervals import Estimate, Interval
from components.statistics.resampled import DIFFERENCE, SHARE, Resampled
from components.statistics.weighting import ratio

Array = npt.NDArray[Any]

MEASURES = ("balanced_accuracy", "sensitivity", "specificity")
"""Sensitivity and specificity are of malignant against benign, at the threshold chosen on val."""

SKIN_TYPE = NAMES["skin_type"]
SKIN_TYPES = ("I", "II", "III", "IV", "V", "VI")
"""Of Fitzpatrick, from the lightest; the data have them as 1 to 6."""

PER_CLASS = 5
"""Lesions that a class must have in the subgroup, and outside it, to be compared."""


@dataclass(frozen=True)
class Subgroup:
    """One value of one attribute, and how it differs from all other test images.

    With too few lesions, `values` and `differences` lack the measure.
    """

    attribute: str
    value: str
    images: int
    groups: int
    """Lesions or patients."""
    classes: tuple[str, ...]
    """That both sides hold: balanced accuracy is over these, so that the mix of classes has no influence."""
    values: Mapping[str, Interval]
    """By measure."""
    differences: Mapping[str, Interval]
    """Minus all others; wide enough that all intervals hold at once."""
    by_seed: Mapping[str, tuple[float, ...]]
    """The differences."""
    size_shown: bool = True
    """Whether `images` and `groups` may be shown: `attributes.hidden_sizes`."""

    def is_worse(self, measure: str) -> bool:
        """Whether it is significantly below the others, corrected for all comparisons, and below in every seed."""
        return self.differs(measure) and max(self.by_seed[measure]) < 0

    def differs(self, measure: str) -> bool:
        """Whether the difference is significantly not zero, and has the same sign in every seed."""
        found, seeds = self.differences.get(measure), self.by_seed.get(measure, ())
        return found is not None and (max(found.high, *seeds) < 0 or min(found.low, *seeds) > 0)


@dataclass(frozen=True)
class Subgroups:
    """Every subgroup of one arm under one protocol."""

    least: int
    """Lesions below which no number is reported."""
    subgroups: tuple[Subgroup, ...]
    comparisons: int
    """Number of differences whose intervals hold at once."""
    alone: float
    """The confidence that each single interval needs for that."""

    def worst(self, measure: str) -> Subgroup | None:
        """The subgroup with the lowest difference; None without any. Unknown values are no subgroup."""
        shown = [each for each in self.subgroups if measure in each.differences and each.value != UNKNOWN]
        return min(shown, key=lambda each: each.differences[measure].mean, default=None)

    def by_skin_type(self) -> tuple[tuple[str, Subgroup | None], ...]:
        """Each skin type of Fitzpatrick with its subgroup; None where nothing may be shown, or nothing is known."""
        shown = {each.value: each for each in self.subgroups if each.attribute == SKIN_TYPE and each.size_shown}
        return tuple((name, shown.get(str(place))) for place, name in enumerate(SKIN_TYPES, start=1))


@dataclass(frozen=True)
class SubgroupAnswers:
    """The predictions of one arm's seeds on the test images."""

    right: Array  # (S, N) bool, True where the predicted class is the true one
    called: Array | None  # (S, N) bool, True where malignant is called; None where no class is malignant
    malignant: Array  # (N,) bool, True where the true class is malignant


def compare_subgroups(
    sample: Resampled, answers: SubgroupAnswers, table: pd.DataFrame, classes: Sequence[str], least: int
) -> Subgroups:
    """Every value of every attribute against all other test images; the intervals of all differences hold at once.

    Args:
        sample: the test images and their resamples.
        answers: predictions of all seeds.
        table: (N, attributes) texts, see `attributes.describe`.
        classes: in the order of the labels.
        least: lesions below which no number is reported.
    """
    counted = _WeightedCounts(sample, answers, len(classes))
    drafts = [_measure(counted, *which, classes, least) for which in _values(table)]
    moved = np.array([gap.by_seed.mean(0) for _, found in drafts for gap in found.values()])  # (D, C)
    alone = (
        joint_confidence(moved[:, : 1 + sample.design.resamples], sample.confidence)
        if len(moved)
        else sample.confidence
    )
    hidden = _hidden([draft for draft, _ in drafts], least)
    shown = tuple(
        replace(
            draft,
            differences=_intervals(sample, found, alone),
            size_shown=draft.groups >= least and draft.value not in hidden[draft.attribute],
        )
        for draft, found in drafts
    )
    return Subgroups(least, shown, len(moved), alone)


def _hidden(found: Sequence[Subgroup], least: int) -> dict[str, set[str]]:
    """By attribute: the values whose sizes are not shown."""
    sizes: dict[str, dict[str, int]] = {}
    for each in found:
        sizes.setdefault(each.attribute, {})[each.value] = each.groups
    return {name: hidden_sizes(groups, least) for name, groups in sizes.items()}


@dataclass(frozen=True)
class _InsideMinusOutside:
    """One measure inside minus outside, (S, C), and its classes' shares and lesions on both sides, (2, K) each."""

    by_seed: Array
    shares: Array
    lesions: Array


def _intervals(sample: Resampled, found: Mapping[str, _InsideMinusOutside], confidence: float) -> dict[str, Interval]:
    """The wider of the bootstrap's interval and that of counted lesions.

    Where all answers are right, the bootstrap shows no variance.
    """
    drawn = {
        name: _of_these_models(sample, gap.by_seed, DIFFERENCE).interval(confidence) for name, gap in found.items()
    }
    counted = {name: counted_interval(gap.shares, gap.lesions, confidence) for name, gap in found.items()}
    return {
        name: Interval(one.mean, min(one.low, counted[name][0]), max(one.high, counted[name][1]))
        for name, one in drawn.items()
    }


def counted_interval(shares: Array, lesions: Array, confidence: float) -> tuple[float, float]:
    """Interval of a mean difference of shares, one success and one failure added (Agresti & Caffo 2000).

    `shares` and `lesions` are (2, K): inside and outside the subgroup, by class.
    """
    softened = (shares * lesions + 1) / (lesions + 2)
    error = np.sqrt((softened * (1 - softened) / (lesions + 2)).sum()) / shares.shape[1]
    centre, reach = float((softened[0] - softened[1]).mean()), float(norm.ppf((1 + confidence) / 2) * error)
    return max(centre - reach, -1.0), min(centre + reach, 1.0)


def _of_these_models(sample: Resampled, by_seed: Array, bounds: tuple[float, float]) -> Estimate:
    """The mean over seeds of (S, C), with the variance between lesions alone."""
    return sample.estimate(by_seed.mean(0, keepdims=True), bounds)


def _values(table: pd.DataFrame) -> Iterator[tuple[str, str, Array]]:
    """Attribute, value, and (N,) bool, True where an image has it; ages and thirds ascend, unknown comes last."""
    steps = {word: step for words in THIRDS.values() for step, word in enumerate(words)}
    for name in table:
        found = set(table[name])
        order = sorted(found, key=lambda word: (word == UNKNOWN, *_rank(word, steps)))
        for value in order:
            yield str(name), value, (table[name] == value).to_numpy()


def _rank(word: str, steps: Mapping[str, int]) -> tuple[int, int, str]:
    """Thirds in their order, `under 40` before `40 to 59`, other values in alphabetical order."""
    return (steps.get(word, -1), not word.startswith("under "), word)


class _WeightedCounts:
    """Weighted counts of right answers, by class, seed and resample, of any set of images."""

    def __init__(self, sample: Resampled, answers: SubgroupAnswers, classes: int) -> None:
        self.sample, self.answers = sample, answers
        self.of_class = (sample.labels == np.arange(classes)[:, None]).astype(np.float32)  # (K, N)
        self.everyone = np.ones(len(sample.labels), bool)
        self.total = self._by_class(self.everyone)

    def _by_class(self, inside: Array) -> tuple[Array, Array]:
        """Right answers (S, K, C) and images (K, C) among the images `inside` (N,) bool."""
        weights, of_class = self.sample.weights[inside], self.of_class[:, inside]
        return (self.answers.right[:, None, inside] * of_class) @ weights, of_class @ weights

    def recalls(self, inside: Array, classes: Array) -> tuple[Array, Array]:
        """Sensitivities of `classes` (K,) among the images `inside` and among all others, (S, K, C) each."""
        own = self._by_class(inside)
        others = [whole - part for whole, part in zip(self.total, own, strict=True)]
        mine, theirs = (ratio(right[:, classes], images[classes]) for right, images in (own, others))
        return mine, theirs

    def calls(self, inside: Array, malignant: bool) -> Array:
        """Share of malignant (or benign) images inside that are called malignant (or benign), (S, C)."""
        among = inside & (self.answers.malignant == malignant)
        weights = self.sample.weights[among]
        assert self.answers.called is not None
        hits = (self.answers.called[:, among] == malignant).astype(np.float32) @ weights
        return ratio(hits, weights.sum(0))


def _mean_of_known(values: Array) -> Array:
    """(S, K, C) to (S, C), the mean over the classes that a resample holds."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0).sum(1), known.sum(1))


def _measure(
    counted: _WeightedCounts, attribute: str, value: str, inside: Array, classes: Sequence[str], least: int
) -> tuple[Subgroup, dict[str, _InsideMinusOutside]]:
    """The subgroup with its values, and its differences, which get their intervals once all are known."""
    sample = counted.sample
    shared: Array = np.all(_lesions(sample, inside, np.arange(len(classes))) >= PER_CLASS, axis=0)
    sides = _sides(counted, inside, np.flatnonzero(shared), least)
    values = {name: _of_these_models(sample, mine, SHARE) for name, (mine, _, _) in sides.items()}
    gaps = {name: mine - theirs for name, (mine, theirs, _) in sides.items()}
    subgroup = Subgroup(
        attribute=attribute,
        value=value,
        images=int(inside.sum()),
        groups=len(set(sample.groups[inside])),
        classes=tuple(name for name, both in zip(classes, shared, strict=True) if both),
        values={name: each.interval(sample.confidence) for name, each in values.items()},
        differences={},
        by_seed={name: tuple(each[:, 0].tolist()) for name, each in gaps.items()},
    )
    return subgroup, {name: _InsideMinusOutside(gaps[name], *plain) for name, (_, _, plain) in sides.items()}


def _lesions(sample: Resampled, inside: Array, classes: Array) -> Array:
    """Lesions of each class inside and outside, (2, K)."""
    sides = (inside, ~inside)
    return np.array([[len(set(sample.groups[side & (sample.labels == k)])) for k in classes] for side in sides])


def _sides(
    counted: _WeightedCounts, inside: Array, shared: Array, least: int
) -> dict[str, tuple[Array, Array, tuple[Array, Array]]]:
    """Each measure inside and outside, (S, C), with its shares and lesions, (2, K), where both have `least` lesions."""
    sample, found = counted.sample, {}
    lesions = _lesions(sample, inside, shared)
    if lesions.sum(1).min() >= least and len(shared):
        pair = counted.recalls(inside, shared)
        mine, theirs = (_mean_of_known(each) for each in pair)
        found["balanced_accuracy"] = mine, theirs, (np.stack([each[:, :, 0].mean(0) for each in pair]), lesions)
    if counted.answers.called is not None:
        for name, malignant in (("sensitivity", True), ("specificity", False)):
            own = np.unique(sample.labels[counted.answers.malignant == malignant])
            lesions = _lesions(sample, inside, own).sum(1, keepdims=True)
            if lesions.min() >= least:
                mine, theirs = counted.calls(inside, malignant), counted.calls(~inside, malignant)
                found[name] = mine, theirs, (np.array([[each[:, 0].mean()] for each in (mine, theirs)]), lesions)
    return found


def joint_confidence(moved: Array, confidence: float) -> float:
    """The confidence that each of D intervals needs so that all hold at once.

    The largest deviation of each resample, in half widths of the ordinary intervals, gives the factor by which all must
    be wider (the studentised maximum; Westfall & Young 1993). Unlike Bonferroni's correction, correlated differences
    are not counted twice.

    Args:
        moved: (D, 1 + R) the differences, as they are in column 0, then by resample.
        confidence: of all intervals together.
    """
    means, draws = moved[:, :1], moved[:, 1:]  # (D, 1), (D, R)
    low, high = np.nanquantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1)  # (D,)
    half = np.maximum(high - low, 1e-12)[:, None] / 2
    furthest = np.nanmax(np.abs(draws - means) / half, axis=0)  # (R,)
    wider = max(float(np.quantile(furthest, confidence)), 1.0)
    return float(2 * norm.cdf(wider * norm.ppf((1 + confidence) / 2)) - 1)
