"""What learning curves say of the paper's claims: speed of convergence, relative fall of the loss, steadiness.

Letters: E epochs, C columns: the val images as they are, in each resample, and without each lesion. Epoch 1 ends with
the first pass over the images; all arms have the same batches, so equal epochs are equal steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from components.statistics.weighting import ratio

Array = npt.NDArray[Any]

CONVERGED = 0.9
"""Share of a run's whole improvement with which it counts as converged."""


def epochs_to_converge(balanced_accuracy: Array, chance: float) -> Array:
    """Epochs until val balanced accuracy first reaches CONVERGED of the run's own improvement over chance.

    The improvement goes from chance, where every run starts at epoch 0 before training, to the run's highest value.
    Between epochs the curve is a straight line. Only the time is measured: a run can converge early at a low value.

    Args:
        balanced_accuracy: (E, C) on val after each epoch, from epoch 1.
        chance: balanced accuracy without knowledge, 1 / number of classes.

    Returns:
        (C,) epochs, above 0; NaN where the run never exceeds chance.
    """
    values = np.vstack([np.full(balanced_accuracy.shape[1], chance), balanced_accuracy])  # (E + 1, C)
    target = chance + CONVERGED * (values.max(0) - chance)  # (C,)
    place = np.maximum(1, np.argmax(values >= target, axis=0))  # the first epoch at or above it
    columns = np.arange(len(target))
    before, after = values[place - 1, columns], values[place, columns]
    return np.asarray(np.where(target > chance, place - 1 + ratio(target - before, after - before), np.nan))


def relative_fall(loss: Array) -> Array:
    """The change of the loss (E, C) from first to last epoch as a share of the first, as the paper counts it, (C,)."""
    return np.asarray(ratio(loss[-1], loss[0]) - 1)


def share_of_falls(accuracy: Array) -> Array:
    """How much of a curve's movement goes down: its falls by its falls and rises together.

    Args:
        accuracy: (E, C) after each epoch.

    Returns:
        (C,) in [0, 1]; 0 where it never falls, NaN where it does not move.
    """
    steps = np.diff(accuracy, axis=0)  # (E - 1, C)
    return np.asarray(ratio(np.maximum(-steps, 0).sum(0), np.abs(steps).sum(0)))
