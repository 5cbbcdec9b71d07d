"""A part of the train lesions, nested and drawn once: what is in a small part is in every larger one.

Nothing about an arm goes into the draw, so all arms learn from the same lesions. Lesions (or patients: groups) stay
whole, and each class gives its share of them, so that fewer labels do not also mean another mix of diseases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

LEAST = 2
"""Lesions of a class that stay in every part, where there are so many: of one nothing general can be learned."""


@dataclass(frozen=True)
class Part:
    """Rows of the train images, and how many lesions of each class they are of."""

    rows: Ints  # (n,) in order
    groups: int  # lesions or patients
    kept: dict[int, int]  # class -> lesions in the part
    there: dict[int, int]  # class -> lesions in all


def draw_part(groups: npt.NDArray[Any], labels: Ints, share: float, key: Sequence[int]) -> Part:
    """About `share` of the groups of each class, at least `LEAST`; the same `key` gives nested parts.

    `groups` (N,) and `labels` (N,) are the train images'. A group of several classes is drawn with its rarest.
    """
    names, member = np.unique(groups, return_inverse=True)
    pairs = np.unique(np.stack([member, labels], axis=1), axis=0)  # each group with each class it holds
    home = _homes(pairs, len(names))
    chosen = np.zeros(len(names), bool)
    for k in np.unique(home):
        own = np.flatnonzero(home == k)
        order = np.random.default_rng([*key, int(k)]).permutation(own)  # of all: a larger share takes more of it
        chosen[order[: _count(len(own), share)]] = True
    here = pairs[chosen[pairs[:, 0]], 1]
    kept = {int(k): int((here == k).sum()) for k in np.unique(labels)}
    there = {int(k): int((pairs[:, 1] == k).sum()) for k in np.unique(labels)}
    return Part(np.flatnonzero(chosen[member]), int(chosen.sum()), kept, there)


def _homes(pairs: Ints, groups: int) -> Ints:
    """(G,) the rarest class that each group holds, by groups."""
    frequent_first = np.argsort(-np.bincount(pairs[:, 1])[pairs[:, 1]], kind="stable")
    home = np.zeros(groups, np.int64)
    for place in frequent_first:  # a rarer class overwrites
        home[pairs[place, 0]] = pairs[place, 1]
    return home


def _count(groups: int, share: float) -> int:
    return min(groups, max(LEAST, int(np.floor(share * groups + 0.5))))


def describe_part(part: Part, share: float, classes: Sequence[str]) -> list[str]:
    """What of the share could not be had, in words: classes of which it keeps more lesions, or too few to learn.

    More: because of `LEAST`, or because a patient of several classes stays whole.
    """
    more = [k for k, kept in part.kept.items() if kept > np.floor(share * part.there[k] + 0.5)]
    few = [k for k, kept in part.kept.items() if kept < LEAST]
    lines = [f"{classes[k]}: {part.kept[k]} of {part.there[k]} lesions kept, more than the share" for k in more]
    return lines + [f"{classes[k]}: {part.kept[k]} of {part.there[k]} lesions, too few to learn from" for k in few]
