"""The squared calibration error without the bias of few images: zero on average for a perfect model.

It is never clipped: below zero, the distances are smaller than chance alone makes them on average. Clipped at zero, a
model that is 8 points overconfident would show no error in a third of small test sets, and a perfect one an error above
zero on average. Letters: N images, B bins, G groups, C columns of resamples.
"""

from __future__ import annotations

import numpy as np

from components.statistics.weighting import Array, ratio

BLOCK = 1024
"""Resamples in one matrix product; bounds the memory."""


def debiased_squared_errors(predicted: Array, observed: Array, places: Array, groups: Array, weights: Array) -> Array:
    """The mean squared distance of predicted from observed frequency in bins, in every resample, (C,), in [-1, 1].

    The mean of `d_i d_j`, d = observed - predicted, over pairs of images of different lesions in a bin: noise of one
    lesion is never multiplied by itself, and a lesion that is drawn twice makes no pair with itself, so that resampling
    adds no bias. With one image a lesion and one probability a bin it is the estimator of Kumar, Liang & Ma (2019,
    section 5.1). A bin of one lesion has no pair and is left out; 0 where all are.

    Args:
        predicted: (N,) in [0, 1].
        observed: (N,) bool.
        places: (N,) the bin of each image.
        groups: (N,) lesion or patient.
        weights: (N, C) equal within a group.
    """
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    shape = (int(places.max()) + 1, len(first))  # (B, G)
    cell = places * shape[1] + member
    sums = np.bincount(cell, weights=observed - predicted, minlength=shape[0] * shape[1]).reshape(shape)
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    blocks = range(0, weights.shape[1], BLOCK)
    drawn = (weights[first, start : start + BLOCK].astype(float) for start in blocks)  # (G, BLOCK)
    return np.concatenate([_squared(sums, counts, each) for each in drawn])


def _squared(sums: Array, counts: Array, drawn: Array) -> Array:
    """Sums and counts (B, G) of bins and groups, each group drawn (G, C) times: the squared error (C,)."""
    images, squares = counts @ drawn, drawn**2
    products = (sums @ drawn) ** 2 - sums**2 @ squares  # (B, C) over pairs of different groups
    pairs = images**2 - counts**2 @ squares
    known = pairs > 0
    squared, images = np.where(known, ratio(products, pairs), 0), np.where(known, images, 0)
    return np.asarray(np.nan_to_num(ratio((squared * images).sum(0), images.sum(0))))
