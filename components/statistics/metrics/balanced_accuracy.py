"""The mean of the classes' sensitivities: each class counts alike, however rare (Brodersen et al. 2010)."""

import numpy as np

from components.statistics.metrics import Labels, Probabilities


def balanced_accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """In [0, 1], chance is 1 / K; classes without an image are left out of the mean."""
    right = probabilities.argmax(axis=1) == labels  # (N,)
    counts = np.bincount(labels)  # (<= K,)
    hits = np.bincount(labels, weights=right)
    present = counts > 0
    return float(np.mean(hits[present] / counts[present]))
