"""A loss that is not finite ends the training: the error names epoch, step, terms and images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from components.base.errors import TrainingError
from components.base.files import whole
from components.training.batches import EpochBatches
from components.training.history import EpochRow
from components.training.job import TrainingJob

OFFENDING_BATCH = "offending-batch.csv"
"""File in the folder of the resume state: row numbers and names of the images of the batch."""

ADVICE = "the usual fix is a lower learning_rate (params.yaml)"


def step_error(job: TrainingJob, *, epoch: int, step: int, terms: Mapping[str, float]) -> TrainingError:
    """The error for a step whose loss is not finite; writes the images of its batch to a file.

    Epoch and step count from 0.
    """
    listed = ", ".join(f"{name} = {value:.6g}" for name, value in terms.items())
    path = _save_batch(job, epoch, step)
    images = f"; its images are listed in {path}" if path else ""
    return TrainingError(
        f"{job.what}: the loss is not finite in epoch {epoch + 1}, step {step + 1}: {listed}{images}; {ADVICE}"
    )


def check_row(job: TrainingJob, *, epoch: int, row: EpochRow) -> None:
    """Raise TrainingError where an evaluated loss is not finite."""
    wrong = {name: value for name, value in row.items() if name.endswith("/loss") and not math.isfinite(value)}
    if wrong:
        listed = ", ".join(f"{name} = {value}" for name, value in wrong.items())
        raise TrainingError(f"{job.what}: not finite after epoch {epoch + 1}: {listed}; {ADVICE}")


def _save_batch(job: TrainingJob, epoch: int, step: int) -> Path | None:
    """The file with the images of a batch; None where there is no folder, or the batches have no row numbers."""
    batches, folder = job.batches(epoch), job.session.checkpoint
    if folder is None or not isinstance(batches, EpochBatches):
        return None
    rows = batches.rows[step]
    names = batches.names(rows) if batches.names else [""] * len(rows)
    lines = [f"{row},{name}" for row, name in zip(rows, names, strict=True)]
    path = folder / OFFENDING_BATCH
    if job.session.leads:
        with whole(path) as unfinished:
            unfinished.write_text("\n".join(["row,name", *lines, ""]))
        job.log.artifact(path)
    return path
