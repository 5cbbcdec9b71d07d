"""Metrics of labels and class probabilities: a file each, with a function of the file's name.

`name(labels, probabilities, weights=None)`, shapes in `components.statistics.weighting`. Without weights a metric is a
float, or an array (K,); with weights (N, R) it has the resamples as its last axis, (R,) or (K, R). A value is NaN where
it is undefined: a class without images, a ranking without two kinds of images. A resample needs that, because a
number in its place would enter the interval. A study's splits hold every class (components.data.splits), so that its
single values are defined; `measure_scalars` leaves out what is not, because JSON has no NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from components.base.errors import SettingsError
from components.base.families import load_member
from components.statistics.weighting import Labels, Probabilities

FAMILY = "statistics.metrics"


def load_metric(name: str) -> Any:
    """The function of a metric, a ScalarMetric or a ClassMetric.

    Raises:
        SettingsError: where no file has this name.
    """
    return getattr(load_member(FAMILY, name), name)


def measure_scalars(names: Iterable[str], labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """The named metrics of the images as they are, each with its default options; undefined ones are left out.

    Args:
        names: of files in this folder whose metric is one number.
        labels: (N,) int, index of each image's class.
        probabilities: (N, K) float, rows that sum to 1.

    Raises:
        SettingsError: where no file has such a name, or its metric is not one number.
    """
    values = {name: load_metric(name)(labels, probabilities) for name in names}
    for name, value in values.items():
        if not isinstance(value, float):
            raise SettingsError(f"metric {name!r} gives an array {value.shape}, expected a metric that is one number")
    return {name: value for name, value in values.items() if not math.isnan(value)}
