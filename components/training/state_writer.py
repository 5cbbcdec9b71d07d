"""When a resume state is written: after each epoch, and within an epoch as often as `Compute` says."""

from __future__ import annotations

import time

import pytorch_lightning as pl

from components.training import checkpoints
from components.training.session import Session
from components.training.step_terms import SYNC_STEPS


class StateWriter:
    """Writes resume states, and knows when the last one was written."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.written = time.monotonic()

    def is_due(self, trainer: pl.Trainer, step: int) -> bool:
        """True where a state within the epoch is due after `step` steps.

        By steps, or by the clock of the leading process, which several devices read every SYNC_STEPS steps only.
        """
        compute = self.session.compute
        if self.session.checkpoint is None:
            return False
        if compute.checkpoint_steps is not None and step % compute.checkpoint_steps == 0:
            return True
        if compute.checkpoint_minutes is None or (self.session.world > 1 and step % SYNC_STEPS):
            return False
        over = time.monotonic() - self.written >= 60 * compute.checkpoint_minutes
        return bool(trainer.strategy.broadcast(over))

    def write(self, trainer: pl.Trainer) -> None:
        """Write a state, where the session has a folder; all processes must call this, as Lightning waits for each."""
        folder = self.session.checkpoint
        if folder is None:
            return
        trainer.save_checkpoint(checkpoints.unfinished_state(folder))
        if self.session.leads:
            checkpoints.keep_state(folder)
        self.written = time.monotonic()
