"""What one learning curve says of the paper's claims: speed of convergence, relative fall of the loss, steadiness.

Letters: E epochs. Epoch 1 ends with the first pass over the images; all arms have the same batches, so equal epochs are
equal steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from components.statistics.intervals import relative_change

Array = npt.NDArray[Any]

CONVERGED = 0.9
"""Share of a run's whole improvement with which it counts as converged."""


def epochs_to_converge(balanced_accuracy: Array, chance: float) -> float:
    """Epochs until val balanced accuracy first reaches CONVERGED of the run's own improvement over chance.

    The improvement goes from chance, where every run starts at epoch 0 before training, to the run's highest value.
    Between epochs the curve is a straight line. Only the time is measured: a run can converge early at a low value.

    Args:
        balanced_accuracy: (E,) on val after each epoch, from epoch 1.
        chance: balanced accuracy without knowledge, 1 / number of classes.

    Returns:
        Epochs, above 0; NaN where the run never exceeds chance.
    """
    values = np.concatenate([[chance], np.asarray(balanced_accuracy, float)])  # (E + 1,)
    target = chance + CONVERGED * (values.max() - chance)
    if not target > chance:
        return float("nan")
    place = int(np.flatnonzero(values >= target)[0])
    before, after = values[place - 1], values[place]
    return float(place - 1 + (target - before) / (after - before))


def relative_fall(loss: Array) -> float:
    """The change of the loss (E,) from the first epoch to the last as a share of the first, as the paper counts it."""
    return relative_change(float(loss[0]), float(loss[-1]))


def share_of_falls(accuracy: Array) -> float:
    """How much of a curve's movement goes down: its falls by its falls and rises together.

    Args:
        accuracy: (E,) after each epoch.

    Returns:
        In [0, 1]; 0 where it never falls, NaN where it does not move.
    """
    steps = np.diff(np.asarray(accuracy, float))  # (E - 1,)
    moved = float(np.abs(steps).sum())
    return float(-steps[steps < 0].sum()) / moved if moved else float("nan")
