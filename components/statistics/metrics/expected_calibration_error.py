"""How far confidence is from accuracy, on average (Naeini et al. 2015; Guo et al. 2017, eq. 3)."""

import numpy as np

from components.statistics.metrics import Labels, Probabilities


def expected_calibration_error(labels: Labels, probabilities: Probabilities, bins: int = 15) -> float:
    """In [0, 1]; of the predicted class's probability, in `bins` bins of equal width (low, high]."""
    confidence = probabilities.max(axis=1)  # (N,)
    right = probabilities.argmax(axis=1) == labels  # (N,)
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    places = np.searchsorted(edges, confidence, side="left")  # (N,) a value on an edge belongs to the lower bin
    gaps = np.bincount(places, weights=right - confidence, minlength=bins)  # (bins,) count x (accuracy - confidence)
    return float(np.abs(gaps).sum() / len(labels))
