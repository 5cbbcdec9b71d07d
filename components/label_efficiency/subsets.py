"""Subsets of the train lesions, nested: what is in a small subset is in every larger one.

The draw does not depend on the arm, so all arms learn from the same lesions. Lesions (or patients: groups) stay whole,
and each class gives its share of them, so that fewer labels do not also mean another class distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

MIN_LESIONS = 2
"""Lesions of a class in every subset, if there are so many: a class cannot be learned from a single lesion."""


@dataclass(frozen=True)
class LesionSubset:
    """Rows of the train images, and how many lesions of each class they are of."""

    rows: Ints  # (n,) in order
    groups: int  # lesions or patients
    kept: dict[int, int]  # class -> lesions in the subset
    total: dict[int, int]  # class -> lesions in all


def draw_subset(groups: npt.NDArray[Any], labels: Ints, share: float, key: Sequence[int]) -> LesionSubset:
    """About `share` of the groups of each class, at least `MIN_LESIONS`; the same `key` gives nested subsets.

    Args:
        groups: (N,) lesion or patient of each train image.
        labels: (N,) class of each train image; a group of several classes is drawn with its rarest.
        share: of the groups, in (0, 1].
        key: seed of the random order of groups.
    """
    names, member = np.unique(groups, return_inverse=True)
    pairs = np.unique(np.stack([member, labels], axis=1), axis=0)  # each group with each class it holds
    rarest = _rarest_class(pairs, len(names))
    chosen = np.zeros(len(names), bool)
    for k in np.unique(rarest):
        own = np.flatnonzero(rarest == k)
        # of all groups, so that a larger share takes a longer prefix
        order = np.random.default_rng([*key, int(k)]).permutation(own)
        chosen[order[: _count(len(own), share)]] = True
    here = pairs[chosen[pairs[:, 0]], 1]
    kept = {int(k): int((here == k).sum()) for k in np.unique(labels)}
    total = {int(k): int((pairs[:, 1] == k).sum()) for k in np.unique(labels)}
    return LesionSubset(np.flatnonzero(chosen[member]), int(chosen.sum()), kept, total)


def _rarest_class(pairs: Ints, groups: int) -> Ints:
    """(G,) the rarest class that each group holds, by groups."""
    frequent_first = np.argsort(-np.bincount(pairs[:, 1])[pairs[:, 1]], kind="stable")
    rarest = np.zeros(groups, np.int64)
    for place in frequent_first:  # a rarer class overwrites
        rarest[pairs[place, 0]] = pairs[place, 1]
    return rarest


def _count(groups: int, share: float) -> int:
    return min(groups, max(MIN_LESIONS, int(np.floor(share * groups + 0.5))))


def describe_subset(subset: LesionSubset, share: float, classes: Sequence[str]) -> list[str]:
    """Sentences on classes that keep more lesions than the share, or too few to learn from.

    More: because of `MIN_LESIONS`, or because a patient of several classes stays whole.
    """
    more = [k for k, kept in subset.kept.items() if kept > np.floor(share * subset.total[k] + 0.5)]
    few = [k for k, kept in subset.kept.items() if kept < MIN_LESIONS]
    lines = [f"{classes[k]}: {subset.kept[k]} of {subset.total[k]} lesions kept, more than the share" for k in more]
    return lines + [f"{classes[k]}: {subset.kept[k]} of {subset.total[k]} lesions, too few to learn from" for k in few]
