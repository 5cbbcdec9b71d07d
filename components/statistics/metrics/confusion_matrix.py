"""How often images of each class were predicted as each class."""

import numpy as np

from components.statistics.weighting import Array, Labels, Probabilities, class_metric, weighted_count


@class_metric
def confusion_matrix(labels: Labels, probabilities: Probabilities, weights: Array) -> Array:
    """(K, K) int64 counts: row the true class, column the predicted one."""
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(axis=1)  # (N,) index of a cell, row by row
    counts = weighted_count(cells[:, None] == np.arange(classes**2), weights)  # (K * K, R)
    return counts.astype(np.int64).reshape(classes, classes, -1)
