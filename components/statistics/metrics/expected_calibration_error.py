"""The mean distance of confidence from accuracy (Naeini et al. 2015; Guo et al. 2017, eq. 3)."""

import numpy as np

from components.statistics.weighting import Array, Labels, Probabilities, scalar_metric


@scalar_metric
def expected_calibration_error(labels: Labels, probabilities: Probabilities, weights: Array, bins: int = 15) -> Array:
    """In [0, 1]; of the predicted class's probability, in `bins` bins of equal width (low, high]."""
    confidence = probabilities.max(axis=1)  # (N,)
    right = probabilities.argmax(axis=1) == labels  # (N,)
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    places = np.searchsorted(edges, confidence, side="left")  # (N,) a value on an edge belongs to the lower bin
    gaps = (places == np.arange(bins)[:, None]) * (right - confidence)  # (bins, N)
    return np.asarray(np.abs(gaps @ weights).sum(axis=0) / weights.sum(axis=0))  # (R,)
