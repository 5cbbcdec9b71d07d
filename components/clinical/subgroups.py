"""Who is it worse for: each subgroup of the test images against all others, and nothing claimed from few.

The question is of the models at hand, those of all seeds: intervals hold the lesions' luck, and a subgroup counts as
worse only where it is so in each seed. What another training would give is not asked.
Letters: N images, K classes, S seeds, C columns of resamples, D differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from components.data.vocabulary import is_site
from components.statistics.intervals import Estimate, Interval
from components.statistics.resampled import DIFFERENCE, SHARE, Resampled
from components.statistics.weighting import ratio

Array = npt.NDArray[Any]

UNKNOWN = "unknown"
THIRDS = {
    "sharpness": ("blurred", "medium", "sharp"),
    "luma": ("dark", "medium", "bright"),
    "lesion_share": ("small", "medium", "large"),
}
"""Columns of `facts` that are cut into thirds, and what the thirds are called."""

NAMES = {"luma": "brightness", "lesion_share": "lesion size", "skin_type": "skin type", "age": "age"}
"""What an attribute is called where its column's name would not say it."""

MEASURES = ("balanced_accuracy", "sensitivity", "specificity")
"""Sensitivity and specificity are those for malignant, at the threshold that val chose."""

PER_CLASS = 5
"""Lesions that a class must have on either side to be compared."""


@dataclass(frozen=True)
class Subgroup:
    """One value of one attribute, and how it differs from all other test images.

    Where there are too few lesions there are no numbers: `values` and `differences` lack the measure.
    """

    attribute: str
    value: str
    images: int
    groups: int
    classes: tuple[str, ...]  # that both sides hold: balanced accuracy is over these, so that no class mix poses
    values: Mapping[str, Interval]  # by measure
    differences: Mapping[str, Interval]  # minus all others; wide enough to hold all at once
    by_seed: Mapping[str, tuple[float, ...]]  # the differences

    def worse(self, measure: str) -> bool:
        """Whether it is surely below the others, the number of comparisons counted, and so in every seed."""
        return self.sure(measure) and max(self.by_seed[measure]) < 0

    def sure(self, measure: str) -> bool:
        """Whether the difference is surely not zero, and has one sign in every seed."""
        found, seeds = self.differences.get(measure), self.by_seed.get(measure, ())
        return found is not None and (max(found.high, *seeds) < 0 or min(found.low, *seeds) > 0)


@dataclass(frozen=True)
class Subgroups:
    """Every subgroup of one arm under one protocol."""

    least: int  # lesions below which nothing is shown
    subgroups: tuple[Subgroup, ...]
    comparisons: int  # how many differences the intervals hold at once
    alone: float  # the confidence that each interval needs by itself for that

    def worst(self, measure: str) -> Subgroup | None:
        """The subgroup furthest below the others, None where nothing is shown; unknown values are no group."""
        shown = [each for each in self.subgroups if measure in each.differences and each.value != UNKNOWN]
        return min(shown, key=lambda each: each.differences[measure].mean, default=None)


# --- who belongs where


def describe(names: Sequence[str], accepted: pd.DataFrame, facts: pd.DataFrame, ages: Sequence[int]) -> pd.DataFrame:
    """One row an image in the order of `names`, one column an attribute; missing values are `unknown`.

    Attributes that do not part the images are left out: all unknown, or the same for all.
    """
    rows = accepted.set_index("image_id").reindex(list(names))
    measured = facts.drop_duplicates("image_id").set_index("image_id").reindex(list(names))
    table = pd.DataFrame({name: _words(rows, name) for name in ("sex", "site", "skin_type", "source")})
    table.insert(1, "age", age_bands(rows.get("age"), ages, len(rows)))
    for name, words in THIRDS.items():
        table[name] = thirds(measured[name], words) if name in measured else UNKNOWN
    parting = [name for name in table if len(set(table[name]) - {UNKNOWN}) > 1]
    return table[parting].rename(columns=NAMES).reset_index(drop=True)


def _words(rows: pd.DataFrame, name: str) -> Array:
    """A column as words, `unknown` where it is missing."""
    if name not in rows:
        return np.full(len(rows), UNKNOWN)
    column = rows[name].astype("object")
    if name == "site":  # a free text may name a person, and the page leaves the table
        column = column.where(column.isna() | column.map(lambda word: is_site(str(word))), "other")
    return np.array([UNKNOWN if pd.isna(value) or value == "" else str(value) for value in column])


def age_bands(ages: pd.Series[Any] | None, edges: Sequence[int], count: int) -> Array:
    """`under 40`, `40 to 59`, `60 and over` from the edges 40 and 60."""
    if ages is None:
        return np.full(count, UNKNOWN)
    inner = [f"{low} to {high - 1}" for low, high in pairwise(edges)]
    words = np.array([f"under {edges[0]}", *inner, f"{edges[-1]} and over"])
    years = ages.to_numpy("float64", na_value=np.nan)
    return np.where(np.isnan(years), UNKNOWN, words[np.searchsorted(edges, years.round(), side="right") % len(words)])


def thirds(values: pd.Series[Any], words: Sequence[str]) -> Array:
    """The lowest, middle and highest third of what is known."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy("float64", na_value=np.nan)
    known = np.isfinite(numbers)
    if not known.any():
        return np.full(len(numbers), UNKNOWN)
    cuts = np.quantile(numbers[known], [1 / 3, 2 / 3])
    places = np.searchsorted(cuts, np.where(known, numbers, 0.0), side="left")
    return np.asarray(np.where(known, np.array(words)[places], UNKNOWN))


# --- how it does there


@dataclass(frozen=True)
class Answers:
    """What the seeds of one arm said of the test images."""

    right: Array  # (S, N) whether the likeliest class is the right one
    called: Array | None  # (S, N) whether malignant was called; None where no class is
    malignant: Array  # (N,)


def compare_subgroups(
    sample: Resampled, answers: Answers, table: pd.DataFrame, classes: Sequence[str], least: int
) -> Subgroups:
    """Every value of every attribute against all other test images, intervals holding all at once."""
    counted = _Counted(sample, answers, len(classes))
    drafts = [_measure(counted, *which, classes, least) for which in _values(table)]
    moved = np.array([gap.by_seed.mean(0) for _, found in drafts for gap in found.values()])  # (D, C)
    alone = (
        joint_confidence(moved[:, : 1 + sample.design.resamples], sample.confidence)
        if len(moved)
        else sample.confidence
    )
    shown = tuple(replace(draft, differences=_intervals(sample, found, alone)) for draft, found in drafts)
    return Subgroups(least, shown, len(moved), alone)


@dataclass(frozen=True)
class _Gap:
    """One measure inside minus outside, (S, C), and its classes' shares and lesions on both sides, (2, K) each."""

    by_seed: Array
    shares: Array
    lesions: Array


def _intervals(sample: Resampled, found: Mapping[str, _Gap], confidence: float) -> dict[str, Interval]:
    """The wider of the bootstrap's and of counted lesions': where all are right, drawing them again shows no luck."""
    drawn = {
        name: _of_these_models(sample, gap.by_seed, DIFFERENCE).interval(confidence) for name, gap in found.items()
    }
    counted = {name: counted_interval(gap.shares, gap.lesions, confidence) for name, gap in found.items()}
    return {
        name: Interval(one.mean, min(one.low, counted[name][0]), max(one.high, counted[name][1]))
        for name, one in drawn.items()
    }


def counted_interval(shares: Array, lesions: Array, confidence: float) -> tuple[float, float]:
    """Ends for the mean difference of shares, (2, K) each, a success and a failure added (Agresti & Caffo 2000)."""
    softened = (shares * lesions + 1) / (lesions + 2)
    error = np.sqrt((softened * (1 - softened) / (lesions + 2)).sum()) / shares.shape[1]
    centre, reach = float((softened[0] - softened[1]).mean()), float(norm.ppf((1 + confidence) / 2) * error)
    return max(centre - reach, -1.0), min(centre + reach, 1.0)


def _of_these_models(sample: Resampled, by_seed: Array, bounds: tuple[float, float]) -> Estimate:
    """Their mean (S, C) as one number with the lesions' luck alone."""
    return sample.estimate(by_seed.mean(0, keepdims=True), bounds)


def _values(table: pd.DataFrame) -> Iterator[tuple[str, str, Array]]:
    """Attribute, value, and which images have it; ages and thirds from low to high, unknown last."""
    steps = {word: step for words in THIRDS.values() for step, word in enumerate(words)}
    for name in table:
        found = set(table[name])
        order = sorted(found, key=lambda word: (word == UNKNOWN, *_rank(word, steps)))
        for value in order:
            yield str(name), value, (table[name] == value).to_numpy()


def _rank(word: str, steps: Mapping[str, int]) -> tuple[int, int, str]:
    """Thirds in their order, `under 40` before `40 to 59`, other words by the alphabet."""
    return (steps.get(word, -1), not word.startswith("under "), word)


class _Counted:
    """Weighted counts of what is right, by class, seed and resample, of any set of images."""

    def __init__(self, sample: Resampled, answers: Answers, classes: int) -> None:
        self.sample, self.answers = sample, answers
        self.of_class = (sample.labels == np.arange(classes)[:, None]).astype(np.float32)  # (K, N)
        self.everyone = np.ones(len(sample.labels), bool)
        self.total = self._by_class(self.everyone)

    def _by_class(self, inside: Array) -> tuple[Array, Array]:
        """Right answers (S, K, C) and images (K, C)."""
        weights, of_class = self.sample.weights[inside], self.of_class[:, inside]
        return (self.answers.right[:, None, inside] * of_class) @ weights, of_class @ weights

    def recalls(self, inside: Array, classes: Array) -> tuple[Array, Array]:
        """Sensitivities of `classes` (K,) among the images `inside` and among all others, (S, K, C) each."""
        own = self._by_class(inside)
        others = [whole - part for whole, part in zip(self.total, own, strict=True)]
        mine, theirs = (ratio(right[:, classes], images[classes]) for right, images in (own, others))
        return mine, theirs

    def calls(self, inside: Array, malignant: bool) -> Array:
        """Share of malignant (or benign) images inside that are called so, (S, C)."""
        among = inside & (self.answers.malignant == malignant)
        weights = self.sample.weights[among]
        assert self.answers.called is not None
        hits = (self.answers.called[:, among] == malignant).astype(np.float32) @ weights
        return ratio(hits, weights.sum(0))


def _mean_of_known(values: Array) -> Array:
    """(S, K, C) to (S, C) over the classes that a resample holds."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0).sum(1), known.sum(1))


def _measure(
    counted: _Counted, attribute: str, value: str, inside: Array, classes: Sequence[str], least: int
) -> tuple[Subgroup, dict[str, _Gap]]:
    """The subgroup with its values, and its differences still without intervals."""
    sample = counted.sample
    shared: Array = np.all(_lesions(sample, inside, np.arange(len(classes))) >= PER_CLASS, axis=0)
    sides = _sides(counted, inside, np.flatnonzero(shared), least)
    values = {name: _of_these_models(sample, mine, SHARE) for name, (mine, _, _) in sides.items()}
    gaps = {name: mine - theirs for name, (mine, theirs, _) in sides.items()}
    subgroup = Subgroup(
        attribute,
        value,
        int(inside.sum()),
        len(set(sample.groups[inside])),
        tuple(name for name, both in zip(classes, shared, strict=True) if both),
        {name: each.interval(sample.confidence) for name, each in values.items()},
        {},
        {name: tuple(each[:, 0].tolist()) for name, each in gaps.items()},
    )
    return subgroup, {name: _Gap(gaps[name], *plain) for name, (_, _, plain) in sides.items()}


def _lesions(sample: Resampled, inside: Array, classes: Array) -> Array:
    """Lesions of each class inside and outside, (2, K)."""
    sides = (inside, ~inside)
    return np.array([[len(set(sample.groups[side & (sample.labels == k)])) for k in classes] for side in sides])


def _sides(
    counted: _Counted, inside: Array, shared: Array, least: int
) -> dict[str, tuple[Array, Array, tuple[Array, Array]]]:
    """Each measure inside and outside, (S, C), its shares and lesions; where `least` lesions stand behind either."""
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
    """The confidence that each of D intervals needs so that all hold at once; `moved` (D, 1 + R), the mean first.

    Each resample's largest departure, in half widths of the ordinary intervals, says by how much all must be wider
    (the studentised maximum; Westfall & Young 1993). What moves together is counted once, unlike in Bonferroni's rule.
    """
    means, draws = moved[:, :1], moved[:, 1:]  # (D, 1), (D, R)
    low, high = np.nanquantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1)  # (D,)
    half = np.maximum(high - low, 1e-12)[:, None] / 2
    furthest = np.nanmax(np.abs(draws - means) / half, axis=0)  # (R,)
    wider = max(float(np.quantile(furthest, confidence)), 1.0)
    return float(2 * norm.cdf(wider * norm.ppf((1 + confidence) / 2)) - 1)
