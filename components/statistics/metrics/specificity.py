"""Of the images of all other classes, the share that is not predicted as this one: its true negative rate."""

import numpy as np

from components.statistics.weighting import Array, Labels, Probabilities, class_metric, ratio, weighted_count


@class_metric
def specificity(labels: Labels, probabilities: Probabilities, weights: Array) -> Array:
    """(K,) in [0, 1]; NaN for a class to which all images belong."""
    classes = np.arange(probabilities.shape[1])
    is_other = labels[:, None] != classes  # (N, K)
    not_predicted = probabilities.argmax(axis=1)[:, None] != classes  # (N, K)
    return ratio(weighted_count(is_other & not_predicted, weights), weighted_count(is_other, weights))
