"""The share of images whose most probable class is the right one."""

import numpy as np

from components.statistics.metrics import Labels, Probabilities


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """In [0, 1]; at equal probabilities the first class is the prediction."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))
