"""The mean over classes of F1, the harmonic mean of precision and sensitivity (van Rijsbergen 1979)."""

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
def macro_f1(labels: Labels, probabilities: Probabilities, weights: Array) -> Array:
    """In [0, 1]; a class that is neither present nor predicted is left out of the mean."""
    classes = np.arange(probabilities.shape[1])
    present = labels[:, None] == classes  # (N, K)
    predicted = probabilities.argmax(axis=1)[:, None] == classes  # (N, K)
    hits = weighted_count(present & predicted, weights)  # (K, R)
    return mean_over_classes(ratio(2 * hits, weighted_count(present, weights) + weighted_count(predicted, weights)))
