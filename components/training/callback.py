"""The callback through which Lightning runs a training: it connects Lightning's hooks to the training's parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from components.base.errors import CheckpointError, TrainingError
from components.training import checkpoints
from components.training.epoch_cost import EpochCost
from components.training.finite_loss import check_row, step_error
from components.training.history import EpochRow
from components.training.job import TrainingJob
from components.training.micro_batching import MicroBatchSize
from components.training.state import TrainingState
from components.training.state_writer import StateWriter
from components.training.step_terms import SYNC_STEPS


class TrainingCallback(pl.Callback):
    """Notes each step, evaluates after each epoch, and writes resume states."""

    state_key = "training"
    """Where a resume state keeps `state_dict`."""

    def __init__(self, job: TrainingJob, state: TrainingState) -> None:
        self.job, self.state = job, state
        self.micro_batch = MicroBatchSize(job.session.compute.micro_batch)
        self.writer = StateWriter(job.session)
        self.cost = EpochCost()  # of the current epoch

    @property
    def finished(self) -> bool:
        """True where no epoch is left to train."""
        return self.state.epoch >= self.job.epochs or self.state.history.is_out_of_patience

    def state_dict(self) -> dict[str, Any]:
        """What the resume state contains besides weights, optimizer and schedule."""
        return {**self.state.state_dict(), "micro_batch": self.micro_batch.limit}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.state.load_state_dict(state_dict)
        self.micro_batch.restore(state_dict["micro_batch"])

    def resume(self, found: checkpoints.State) -> None:
        """Continue from a resume state, and log the rows of the epochs before it again."""
        self.load_state_dict(checkpoints.callback_state(found, self.state_key, self.job.what))
        within = f", step {self.state.step} of the next" if self.state.step else ""
        self.job.log.line(f"{self.job.what}: continuing after epoch {self.state.epoch} of {self.job.epochs}{within}")
        for number, row in enumerate(self.state.history.rows, start=1):
            self.job.log.metrics(row, step=number)

    def on_fit_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Check that all processes continue from one step: a host without the resume state would start from none."""
        own = self.state.epoch, self.state.step
        leading = tuple(trainer.strategy.broadcast(own))
        if own != leading:
            raise CheckpointError(
                f"{self.job.what}: process {self.job.session.rank} continues after epoch {own[0]}, step {own[1]}, the "
                f"leading one after epoch {leading[0]}, step {leading[1]}: all hosts must share "
                f"{self.job.session.checkpoint}"
            )

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Note the step's learning rate, and seed its random draws."""
        self.state.terms.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.state.reseed(self.job.session)

    def on_before_optimizer_step(
        self, _trainer: pl.Trainer, _module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Note the norm of the gradient, on its device, and then clip it.

        Lightning refuses to clip for a fused optimizer under autocast, as if every autocast scaled gradients.
        """
        trained = [weight for group in optimizer.param_groups for weight in group["params"]]
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in trained if weight.grad is not None])
        self.state.terms.gradient_norm = norm
        if self.job.gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(trained, self.job.gradient_clip, norm)

    def on_train_batch_end(self, trainer: pl.Trainer, _module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        """Note the step's terms; check them at once on one CPU, every SYNC_STEPS steps elsewhere."""
        self.state.terms.add(outputs)
        self.state.step += 1
        session = self.job.session
        if (session.device == "cpu" and session.world == 1) or self.state.step % SYNC_STEPS == 0:
            self._check_losses(trainer)

    def between_steps(self, trainer: pl.Trainer) -> None:
        """Write a resume state where one is due; all changes of the last step are complete here."""
        if self.writer.is_due(trainer, self.state.step):
            self._check_losses(trainer)
            self.writer.write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate, log, keep the best weights, write the resume state."""
        self._check_losses(trainer)
        terms, epoch = self.state.terms, self.state.epoch
        # times differ from run to run, and a curve must not: they are logged, but not a part of the history
        health = terms.norms() | self.cost.row(self.job.session.device)
        row = terms.means() | self._evaluate(trainer, pl_module) | {"learning_rate": float(np.mean(terms.rates))}
        check_row(self.job, epoch=epoch, row=row)
        self._check_monitor(row)
        self.job.log.metrics(row | health, step=epoch + 1)
        self.state.history.add(row, pl_module)
        self.state.start_next_epoch()
        self.writer.write(trainer)
        trainer.should_stop = self.finished

    def on_save_checkpoint(self, _trainer: pl.Trainer, _module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the settings that the resume state belongs to."""
        checkpoint[checkpoints.SETTINGS] = dict(self.job.settings)

    def _check_losses(self, trainer: pl.Trainer) -> None:
        """Read the terms of the latest steps, and stop at the first loss that is not finite."""

        def average(values: Tensor) -> Tensor:
            mean: Tensor = trainer.strategy.reduce(values, reduce_op="mean")
            return mean

        step = self.state.terms.gather(average)
        if step is not None:
            raise step_error(self.job, epoch=self.state.epoch, step=step, terms=self.state.terms.at(step))

    def _evaluate(self, trainer: pl.Trainer, module: pl.LightningModule) -> EpochRow:
        """Evaluate on the leading process, which sends the row to the others."""
        row: EpochRow = {}
        module.eval()
        if self.job.session.leads:
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                row = self.job.end_of_epoch(self.state.epoch)
        module.train()
        found: EpochRow = trainer.strategy.broadcast(row)
        return found

    def _check_monitor(self, row: EpochRow) -> None:
        monitor = self.state.history.monitor
        if monitor is not None and monitor not in row:
            raise TrainingError(f"{self.job.what}: monitor = {monitor!r} is none of {sorted(row)}")
