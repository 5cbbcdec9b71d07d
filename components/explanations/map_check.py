"""Whether a model's attribution maps may be read: the model parameter randomisation test of Adebayo et al. (2018).

Maps of the model are compared with maps of copies whose weights were randomised. Where they stay the same, they show
the image and not what was learned. Maps that miss much of the logit's change do not explain it either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from components.statistics.intervals import Interval, student_interval

Array = npt.NDArray[Any]

MIN_LESIONS = 5
"""With maps of fewer lesions the verdict is UNDECIDED."""

DEPTHS = ("head", "upper half", "everything")
"""Which weights are randomised, from the top downwards (cascading randomisation)."""

EVERYTHING = DEPTHS[-1]
"""The depth that the verdict is based on."""

OTHER_SEED = "another seed"
"""The comparison with another trained model, without randomisation; it has no part in the verdict."""


class MapVerdict(StrEnum):
    """The outcome of the test."""

    DEPENDS = "depends on the weights"
    INDEPENDENT = "does not depend on the weights"
    INCOMPLETE = "misses too much of the logit"
    UNDECIDED = "not decided"


@dataclass(frozen=True)
class MapSimilarity:
    """How similar a model's maps are to those of another, means over lesions with Student's intervals, in [-1, 1]."""

    other: str  # one of DEPTHS, or OTHER_SEED
    lesions: int
    rank: Interval  # Spearman's correlation of the signed maps
    magnitude: Interval  # Spearman's correlation of their absolute values: places without signs
    structure: Interval  # SSIM


def compare_maps(other: str, *, rank: Array, magnitude: Array, structure: Array, confidence: float) -> MapSimilarity:
    """Means of the similarities of single lesions.

    Args:
        other: what the maps were compared with.
        rank: (N,) in [-1, 1], one a lesion; NaN for a map without contrast, which is left out.
        magnitude: likewise.
        structure: likewise.
        confidence: of the intervals.
    """
    known = np.isfinite(rank) & np.isfinite(magnitude)
    rank_mean, magnitude_mean, structure_mean = (
        _mean(values[known], confidence) for values in (rank, magnitude, structure)
    )
    return MapSimilarity(other, int(known.sum()), rank_mean, magnitude_mean, structure_mean)


def _mean(values: Array, confidence: float) -> Interval:
    """Student's interval over lesions, cut off at -1 and 1."""
    if not len(values):
        return Interval(np.nan, -np.inf, np.inf)
    found = student_interval(values, confidence)
    return Interval(found.mean, max(found.low, -1.0), min(found.high, 1.0)) if found.known else found


def share_missed(missing: Array, change: Array) -> float:
    """The share of the logits' change (N,) that the integral missed (N,), of sums of absolute values; NaN of zero."""
    total = float(np.abs(change).sum())
    return float(np.abs(missing).sum()) / total if total > 0 else np.nan


def judge_maps(similarities: Sequence[MapSimilarity], missed: float, *, same: float, max_missed: float) -> MapVerdict:
    """The verdict, from the maps with everything randomised.

    Args:
        similarities: of one model; without EVERYTHING among them the verdict is UNDECIDED.
        missed: share of the logits' change that the integral missed.
        same: rank correlation from which two maps count as the same, signed or by magnitude.
        max_missed: the largest share that may be missed.
    """
    found = next((each for each in similarities if each.other == EVERYTHING), None)
    if found is None or found.lesions < MIN_LESIONS:
        return MapVerdict.UNDECIDED
    if not missed <= max_missed:  # also of NaN
        return MapVerdict.INCOMPLETE
    if max(found.rank.low, found.magnitude.low) >= same:
        return MapVerdict.INDEPENDENT
    return MapVerdict.DEPENDS if max(found.rank.high, found.magnitude.high) < same else MapVerdict.UNDECIDED
