"""The null line of a metric: what a model reaches that gives every image the class frequencies of the train images.

It has learned nothing from the pixels. A model below it is worse than no model in that metric.
Letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.log_loss import log_loss

Array = npt.NDArray[Any]

LOWER_IS_BETTER = ("log_loss", "brier")
"""Metrics in which a model is below the null line where its value is higher."""


def null_lines(labels: Array, frequencies: Array) -> Mapping[str, float]:
    """The metrics of the null model.

    Args:
        labels: (N,) class indices of the images that are measured.
        frequencies: (K,) of the train images.

    Returns:
        `log_loss` (nats), `brier` (sum over classes, 0 to 2), `accuracy` (of the most frequent class),
        `balanced_accuracy` (1 divided by the number of classes that the images show), `macro_auroc` (0.5).
    """
    p = np.tile(frequencies, (len(labels), 1))
    distance = ((p - np.eye(len(frequencies))[labels]) ** 2).sum(1)
    return {
        "log_loss": log_loss(labels, p),
        "brier": float(distance.mean()),
        "accuracy": accuracy(labels, p),
        "balanced_accuracy": 1 / len(np.unique(labels)),
        "macro_auroc": 0.5,
    }


def is_below(metric: str, value: float, null: float) -> bool:
    """Whether a value is worse than the null line of its metric."""
    return value > null if metric in LOWER_IS_BETTER else value < null
