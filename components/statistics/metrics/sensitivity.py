"""Of the images of a class, the share that is recognised: its true positive rate, also called recall."""

import numpy as np

from components.statistics.weighting import Array, Labels, Probabilities, class_metric, ratio, weighted_count


@class_metric
def sensitivity(labels: Labels, probabilities: Probabilities, weights: Array) -> Array:
    """(K,) in [0, 1]; NaN for a class without an image."""
    is_class = labels[:, None] == np.arange(probabilities.shape[1])  # (N, K)
    right = probabilities.argmax(axis=1) == labels  # (N,)
    return ratio(weighted_count(is_class & right[:, None], weights), weighted_count(is_class, weights))
