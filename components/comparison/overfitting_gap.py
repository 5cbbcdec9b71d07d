"""The overfitting gap: by epoch, its area, its onset, and at which epochs it is compared.

A gap is how much better a model does on train images than on val images, both without augmentation, in eval mode, and
of the same number and classes (`components.training.examples.matched_rows`). A positive gap is overfitting, in every
quantity. E epochs, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t as student

from components.base.errors import DataError
from components.statistics.intervals import Interval, student_interval
from components.statistics.runs import Run

Array = npt.NDArray[Any]

QUANTITIES = ("loss", "accuracy", "balanced_accuracy", "macro_auroc")
"""Of `gap/QUANTITY` in a curve: of the loss val minus train, of the others train minus val, after each epoch."""

GAPS = tuple(f"gap/{name}" for name in QUANTITIES)
"""Columns of a curve."""

DECIDING_GAP = "gap/loss"
"""The gap that verdicts use: val minus train loss, the more probable meaning of the paper's gap."""

DECIDING_PLACE = "common"
"""Where verdicts use it: at the last epoch that all runs of the protocol have, so that no arm had more epochs."""

PLACES = (DECIDING_PLACE, "last", "best", "area")
"""The last common epoch; the run's own last epoch; its best epoch, whose model is kept; all common epochs."""


@dataclass(frozen=True)
class GapDifference:
    """The gap of one arm minus that of another, paired by seed."""

    interval: Interval
    p: float
    """Of no difference, from the interval; 1 where it is not known, NaN where it is not tested."""


def area(gap: Sequence[float] | Array, epochs: int) -> float:
    """The area under the gap over the first `epochs` epochs, by trapezoids, in its unit times epochs.

    NaN where the gap has fewer epochs, or `epochs` is below two.
    """
    values = np.asarray(gap, float)[:epochs]
    return float(np.trapezoid(values)) if len(values) == epochs > 1 else float("nan")


def onset(gap: Sequence[float] | Array, threshold: float) -> int | None:
    """The first epoch, from 1, from which the gap stays above `threshold` to the end; None where it does not."""
    above = np.asarray(gap, float) > threshold
    if not len(above) or not above[-1]:
        return None
    return int(np.flatnonzero(np.append(True, ~above))[-1]) + 1


def shared_epochs(curves: Sequence[pd.DataFrame]) -> int:
    """The number of epochs that all curves have."""
    return min(len(curve) for curve in curves)


def paired(differences: Array, confidence: float) -> GapDifference:
    """Student's interval and t test of differences by seed (S,): the two always agree."""
    found = student_interval(differences, confidence)
    if len(differences) < 2 or not np.isfinite(differences).all():
        return GapDifference(found, 1.0)
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    if not error > 0:
        return GapDifference(found, 1.0 if found.mean == 0 else 0.0)
    return GapDifference(found, float(2 * student.sf(abs(found.mean) / error, len(differences) - 1)))


# --- gaps of runs


def gap_curve(run: Run, name: str) -> Array:
    """A gap after each epoch, (E,); `name` is one of GAPS.

    Raises:
        DataError: where the run's curve lacks it.
    """
    if name not in run.curve:
        raise DataError(f"the curve of finetune run {run.name} lacks {name}; repeat: dvc repro -f finetune")
    return run.curve[name].to_numpy(float)


def places(run: Run, epochs: int) -> dict[str, Array]:
    """By name of PLACES, the weight (E,) of each epoch of the run; `epochs` is the number that all runs have.

    Raises:
        DataError: where the run's summary does not say which epoch of the curve is the best.
    """
    count, best = len(run.curve), int(run.summary.get("best_epoch", 0))
    if not 1 <= best <= count:
        raise DataError(
            f"metrics of finetune run {run.name}: best_epoch is {best}, expected 1 to {count}, the epochs of its "
            "curve; repeat: dvc repro -f finetune"
        )
    found = {"common": epochs, "last": count, "best": best}
    rows = {place: at_position(epoch - 1, count) for place, epoch in found.items()}
    return rows | {"area": np.array([area(row, epochs) for row in np.eye(count)])}


def at_position(position: float, count: int) -> Array:
    """Weights (E,) of `count` epochs that give the value at a position, from 0, on a straight line between epochs."""
    return np.asarray(np.maximum(0.0, 1 - np.abs(np.arange(count) - position)))


def epoch_values(runs: Sequence[Run], epoch: str, name: str) -> Array:
    """A curve's value in each run's `first`, `last` or `best` epoch, (S,).

    Raises:
        DataError: names a run whose summary lacks the value.
    """
    lacking = [run.name for run in runs if name not in run.summary[epoch]]
    if lacking:
        raise DataError(
            f"metrics of finetune run {lacking[0]} lack {name} of the {epoch} epoch; repeat: dvc repro -f finetune"
        )
    return np.array([float(run.summary[epoch][name]) for run in runs])
