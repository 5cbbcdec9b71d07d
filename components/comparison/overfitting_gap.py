"""The overfitting gap as a quantity of its own: by epoch, its area, its onset, and whether two arms differ in it.

A gap is how much better a model does on train images than on val images, both un-augmented, in the same mode, and of
the same number and classes (`components.models.classifier.alike`). Positive is overfitting, in every quantity. S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t as student

from components.statistics.intervals import Interval, student_interval

Array = npt.NDArray[Any]

QUANTITIES = ("loss", "accuracy", "balanced_accuracy", "macro_auroc")
"""Of `gap/QUANTITY` in a curve: of the loss val minus train, of the others train minus val, after each epoch."""


def area(gap: Sequence[float] | Array, epochs: int) -> float:
    """Under the gap over the first `epochs` epochs, by trapezoids, in its unit times epochs; NaN for fewer than two."""
    values = np.asarray(gap, float)[:epochs]
    return float(np.trapezoid(values)) if len(values) == epochs > 1 else float("nan")


def onset(gap: Sequence[float] | Array, threshold: float) -> int | None:
    """The first epoch, from 1, after which the gap stays above `threshold` to the end; None where it does not."""
    above = np.asarray(gap, float) > threshold
    if not len(above) or not above[-1]:
        return None
    return int(np.flatnonzero(np.append(True, ~above))[-1]) + 1


@dataclass(frozen=True)
class Contrast:
    """A difference of two arms, seed by seed."""

    interval: Interval
    p: float  # of no difference, paired t test; 1 for a single seed


def horizon(curves: Sequence[pd.DataFrame]) -> int:
    """Epochs that all of the curves have."""
    return min(len(curve) for curve in curves)


def paired(differences: Array, confidence: float) -> Contrast:
    """Student's interval and t test of differences (S,), which are the same statement."""
    found = student_interval(differences, confidence)
    if len(differences) < 2 or not np.isfinite(differences).all():
        return Contrast(found, 1.0)
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    if not error > 0:
        return Contrast(found, 1.0 if found.mean == 0 else 0.0)
    return Contrast(found, float(2 * student.sf(abs(found.mean) / error, len(differences) - 1)))
