"""Of the images of all other classes, the share that is not taken for this one: its true negative rate."""

from typing import Any

import numpy as np

from components.statistics.metrics import Labels, Probabilities


def specificity(labels: Labels, probabilities: Probabilities) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(K,) in [0, 1]; NaN for a class that all images belong to, of which nothing can be said."""
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)  # (N,)
    others = len(labels) - np.bincount(labels, minlength=classes)  # (K,) images of other classes
    alarms = np.bincount(predicted[predicted != labels], minlength=classes)  # (K,) false ones
    shares: np.ndarray[Any, np.dtype[np.float64]] = np.full(classes, np.nan)
    np.divide(others - alarms, others, out=shares, where=others > 0)
    return shares
