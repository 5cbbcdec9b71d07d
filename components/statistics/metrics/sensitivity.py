"""Of the images of a class, the share that is recognised: its true positive rate, also called recall."""

from typing import Any

import numpy as np

from components.statistics.metrics import Labels, Probabilities


def sensitivity(labels: Labels, probabilities: Probabilities) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(K,) in [0, 1]; NaN for a class without an image, of which nothing can be said."""
    classes = probabilities.shape[1]
    right = probabilities.argmax(axis=1) == labels  # (N,)
    counts = np.bincount(labels, minlength=classes)  # (K,)
    hits = np.bincount(labels, weights=right, minlength=classes)
    return np.divide(hits, counts, out=np.full(classes, np.nan), where=counts > 0)
