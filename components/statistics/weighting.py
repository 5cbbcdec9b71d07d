"""Metrics of weighted images: a resample is a column of weights, how often each image counts in it.

Letters: N images, K classes, R resamples. Weights (N, R) are float32 counts: products and sums of counts below 2^24
are exact, so no order of summing changes a result. All resamples come out of one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, cast, overload

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Labels = Array
"""(N,) int, index of each image's class."""

Probabilities = Array
"""(N, K) float, rows that sum to 1; the highest is the prediction, of equal ones the first."""

Formula = Callable[..., Array]
"""`formula(labels, probabilities, weights, **options)`: a metric in every resample, (..., R)."""


class ScalarMetric(Protocol):
    """A metric that is one number: a float of the images as they are, or (R,), one value a resample."""

    @overload
    def __call__(self, labels: Labels, probabilities: Probabilities, /, **options: Any) -> float: ...
    @overload
    def __call__(self, labels: Labels, probabilities: Probabilities, weights: Array, /, **options: Any) -> Array: ...


class ClassMetric(Protocol):
    """A metric of each class: (K,) or (K, K) of the images as they are, or with R as a last axis."""

    def __call__(
        self, labels: Labels, probabilities: Probabilities, weights: Array | None = None, /, **options: Any
    ) -> Array:
        """In [0, 1] or counts, see each metric."""


def scalar_metric(formula: Formula) -> ScalarMetric:
    """Make a weighted formula, (R,), a metric whose weights may be left out."""

    @wraps(formula)
    def metric(labels: Labels, probabilities: Probabilities, weights: Array | None = None, **options: Any) -> Any:
        if weights is None:
            return float(formula(labels, probabilities, unit_weights(len(labels)), **options)[0])
        return formula(labels, probabilities, weights, **options)

    return cast("ScalarMetric", metric)


def class_metric(formula: Formula) -> ClassMetric:
    """Make a weighted formula, (K, R) or (K, K, R), a metric whose weights may be left out."""

    @wraps(formula)
    def metric(labels: Labels, probabilities: Probabilities, weights: Array | None = None, **options: Any) -> Array:
        if weights is None:
            return formula(labels, probabilities, unit_weights(len(labels)), **options)[..., 0]
        return formula(labels, probabilities, weights, **options)

    return cast("ClassMetric", metric)


def unit_weights(images: int) -> Array:
    """Weights (N, 1) of one: the images as they are."""
    return np.ones((images, 1), np.float32)


def weighted_mean(values: Array, weights: Array) -> Array:
    """Values (N,) or (M, N), averaged with weights (N, R): (R,) or (M, R)."""
    exact = values.astype(np.float32 if values.dtype == bool else np.float64)  # counts are exact in float32
    return np.asarray((exact @ weights).astype(np.float64) / weights.sum(0, dtype=np.float64))


def weighted_count(marked: Array, weights: Array) -> Array:
    """How often marked images occur, bool (N, M) with weights (N, R): (M, R) float64."""
    return np.asarray((marked.T.astype(np.float32) @ weights).astype(np.float64))


def ratio(part: Array, whole: Array) -> Array:
    """`part / whole` in float64; NaN, undefined, where `whole` is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0))


def mean_over_classes(by_class: Array) -> Array:
    """(K, R) to (R,): the mean of the classes that are defined (not NaN) in a resample; NaN where none is."""
    known = np.isfinite(by_class)
    held = known.any(1)  # (K,) a class that no resample has is left out before summing, as np.mean of the rest would
    return ratio(np.where(known[held], by_class[held], 0).sum(0), known.sum(0))
