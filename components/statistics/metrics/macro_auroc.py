"""How well each class's probability ranks its own images above the others', averaged over classes."""

import numpy as np

from components.statistics.weighting import Array, Labels, Probabilities, mean_over_classes, ratio, scalar_metric

BLOCK = 1024
"""Columns of weights in one matrix product; bounds the memory."""

FEW = 16
"""Columns up to which sorting is faster than comparing all pairs of images."""


@scalar_metric
def macro_auroc(labels: Labels, probabilities: Probabilities, weights: Array) -> Array:
    """In [0, 1], chance is 0.5: the mean over classes of the area under the ROC curve, one class against the rest.

    A class of no image, or of all images, has no ranking and is left out; NaN where that leaves no class.
    """
    classes = range(probabilities.shape[1])
    return mean_over_classes(np.stack([auroc(labels == k, probabilities[:, k], weights) for k in classes]))


def auroc(positive: Array, scores: Array, weights: Array) -> Array:
    """Probability that a positive is ranked above a negative, ties half (Mann & Whitney's U), (R,).

    `positive` (N,) bool, `scores` (N,); NaN where a resample lacks one kind. Counts of pairs are half integers and
    exact in either way of counting.
    """
    own, others = weights[positive], weights[~positive]  # (P, R), (N - P, R)
    count = _won_by_rank if weights.shape[1] <= FEW else _won_by_pair
    won = count(scores[positive], scores[~positive], own, others)
    return ratio(won, own.sum(0, dtype=np.float64) * others.sum(0, dtype=np.float64))


def _won_by_rank(positives: Array, negatives: Array, own: Array, others: Array) -> Array:
    """Pairs that positives win, (R,), from the order of all scores: N log N steps a column."""
    levels, places = np.unique(np.concatenate([positives, negatives]), return_inverse=True)
    won = np.empty(own.shape[1])
    for r in range(own.shape[1]):
        mine = np.bincount(places[: len(positives)], weights=own[:, r], minlength=len(levels))  # (levels,)
        theirs = np.bincount(places[len(positives) :], weights=others[:, r], minlength=len(levels))
        won[r] = mine @ (np.cumsum(theirs) - theirs / 2)
    return won


def _won_by_pair(positives: Array, negatives: Array, own: Array, others: Array) -> Array:
    """The same from all pairs at once, one matrix product for all columns: memory grows with N²."""
    outranks = (np.sign(negatives[:, None] - positives) * -0.5 + 0.5).astype(np.float32)  # (N - P, P)
    blocks = [slice(start, start + BLOCK) for start in range(0, own.shape[1], BLOCK)]
    won = [np.einsum("nr,nr->r", outranks @ own[:, b], others[:, b], dtype=np.float64) for b in blocks]
    return np.concatenate(won)
