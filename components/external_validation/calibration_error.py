"""The debiased calibration error in every resample of a test set."""

from __future__ import annotations

import numpy as np

from components.clinical import calibration
from components.statistics.weighting import Array, ratio

BLOCK = 1024
"""Resamples in one matrix product; bounds the memory."""


def calibration_errors(labels: Array, groups: Array, p: Array, weights: Array, bins: int) -> Array:
    """The root of `calibration.debiased_squared_error` in every resample, (C,).

    Bins are those of the images as they are. A lesion that is drawn twice is still one lesion and makes no pair with
    itself. So resampling adds no bias, unlike for calibration errors that are not debiased.

    Args:
        labels: (N,) index of each image's class.
        groups: (N,) lesion or patient.
        p: (N, K) probabilities.
        weights: (N, C) equal within a group.
        bins: of equal mass.
    """
    confidence, correct = calibration.top_class(labels, p)
    places = calibration.equal_mass(confidence, bins)
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    shape = (int(places.max()) + 1, len(first))  # (B, G)
    cell = places * shape[1] + member
    sums = np.bincount(cell, weights=correct - confidence, minlength=shape[0] * shape[1]).reshape(shape)
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    blocks = range(0, weights.shape[1], BLOCK)
    drawn = (weights[first, start : start + BLOCK].astype(float) for start in blocks)  # (G, BLOCK)
    return np.concatenate([_debiased(sums, counts, each) for each in drawn])


def _debiased(sums: Array, counts: Array, drawn: Array) -> Array:
    """Sums and counts (B, G) of bins and groups, each group drawn (G, C) times: the error (C,)."""
    images, squares = counts @ drawn, drawn**2
    products = (sums @ drawn) ** 2 - sums**2 @ squares  # (B, C) over pairs of different groups
    pairs = images**2 - counts**2 @ squares
    squared, images = np.where(pairs > 0, ratio(products, pairs), 0), np.where(pairs > 0, images, 0)
    return np.asarray(np.sqrt(np.maximum(ratio((squared * images).sum(0), images.sum(0)), 0)))
