"""The malignant lesions that each run finds on an external test set, as `dermflow predict` would answer its images.

Letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.clinical.abstention import coverage_threshold
from components.clinical.operating_points import threshold
from components.statistics.intervals import Interval
from components.statistics.resampled import Resampled
from components.statistics.weighting import Array


@dataclass(frozen=True)
class Answered:
    """One run's probabilities, (N, K) each: as trained, and with the class frequencies of the train images restored."""

    learned: Array
    restored: Array


def found_lesions(
    sample: Resampled,
    lesions: Array,
    test: Answered,
    val: Answered,
    val_labels: Array,
    malignant: Array,
    points: Sequence[tuple[str, float]],
    answered: float,
) -> dict[str, Interval]:
    """Of the malignant lesions the share that is found, by operating point, such as `sensitivity_0.9`.

    An image is found where the model is confident enough to answer and calls it malignant, both by thresholds of val.

    Args:
        sample: the images of the test set.
        lesions: (N,) their lesions.
        test: of these images.
        val: of the val images.
        val_labels: index of the class of each val image.
        malignant: (K,) bool.
        points: rate that val fixes, and its level.
        answered: share of the val images that the model answers.

    Returns:
        Intervals over lesions or patients; without points for which val gives no threshold.
    """
    sure = test.learned.max(1) >= coverage_threshold(val.learned.max(1), answered)
    on_val, scores = (each.restored[:, malignant].sum(1) for each in (val, test))
    found = {}
    for fixed, level in points:
        line = threshold(on_val, malignant[val_labels], fixed, level)
        if not np.isnan(line):
            share = sample.share_of_lesions((scores >= line) & sure, lesions, malignant[sample.labels])
            found[f"{fixed}_{level:g}"] = share
    return found
