"""How often each class was taken for which."""

from typing import Any

import numpy as np

from components.statistics.metrics import Labels, Probabilities


def confusion_matrix(labels: Labels, probabilities: Probabilities) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(K, K) counts: row the true class, column the predicted one."""
    classes = probabilities.shape[1]
    pairs = labels * classes + probabilities.argmax(axis=1)  # (N,) each names one cell
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
