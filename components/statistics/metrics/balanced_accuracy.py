"""The mean of the classes' sensitivities: each class has the same weight, however rare (Brodersen et al. 2010)."""

import numpy as np

from components.statistics.weighting import (
    Array,
    Labels,
    Probabilities,
    mean_over_classes,
    ratio,
    scalar_metric,
    weighted_count,
)


@scalar_metric
def balanced_accuracy(labels: Labels, probabilities: Probabilities, weights: Array) -> Array:
    """In [0, 1], chance is 1 / K; classes without an image are left out of the mean."""
    is_class = labels[:, None] == np.arange(probabilities.shape[1])  # (N, K)
    right = probabilities.argmax(axis=1) == labels  # (N,)
    hits = weighted_count(is_class & right[:, None], weights)  # (K, R)
    return mean_over_classes(ratio(hits, weighted_count(is_class, weights)))
