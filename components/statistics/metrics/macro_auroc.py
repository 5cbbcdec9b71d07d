"""How well each class's probability ranks its own images above the others', averaged over classes."""

from typing import Any

import numpy as np

from components.statistics.metrics import Labels, Probabilities


def macro_auroc(labels: Labels, probabilities: Probabilities) -> float:
    """In [0, 1], chance is 0.5; one class against the rest, all classes alike in the mean.

    A class that no image or every image belongs to has no ranking and is left out; where that leaves no class,
    nothing was ranked and the value is chance.
    """
    areas = []
    for k in range(probabilities.shape[1]):
        own = labels == k  # (N,)
        if own.any() and not own.all():
            areas.append(_area(own, probabilities[:, k]))
    return float(np.mean(areas)) if areas else 0.5


def _area(own: np.ndarray[Any, np.dtype[np.bool_]], scores: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Share of (own, other) pairs that are ranked rightly, ties counting half: Mann & Whitney's U."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # (N,) from 1, the mean rank among equals
    positives = int(own.sum())
    u = ranks[own].sum() - positives * (positives + 1) / 2
    return float(u / (positives * (len(own) - positives)))
