"""The one call that fits a module: device, precision, batches as a function of the epoch, exact resuming.

PyTorch Lightning runs the loop. This module makes each step a pure function of the state before it, the seed, and the
numbers of epoch and step: batches come from `batches(epoch)`, and dropout and other draws are seeded again at each
step. So a training that was killed and continues from any step gives the same bits as one that was not.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor

from components.base.errors import TrainingError
from components.base.log import Log, SilentLog
from components.training import checkpoints
from components.training.batches import batch_parts
from components.training.callback import TrainingCallback
from components.training.epoch_cost import EpochCost
from components.training.history import EpochRow, History
from components.training.job import TrainingJob
from components.training.micro_batching import MicroBatchedOptimization
from components.training.prefetch import prefetch
from components.training.session import Session
from components.training.state import TrainingState
from components.training.sync_batch_norm import CommonStatistics


@dataclass(frozen=True)
class Fit:
    """The result of a training; the module itself holds the weights of the last epoch."""

    history: list[EpochRow]
    """One row per epoch."""
    best_epoch: int
    """Epoch 1 ends with the first pass over the images."""
    best_state: dict[str, Tensor]
    """The module's state dict at the best epoch, on the CPU."""

    @property
    def best_row(self) -> EpochRow:
        """The row of the best epoch."""
        return self.history[self.best_epoch - 1]


def fit(
    module: pl.LightningModule,
    batches: Callable[[int], Iterable[Any]],
    steps_per_epoch: int,
    *,
    epochs: int,
    session: Session,
    log: Log,
    settings: Mapping[str, object],
    end_of_epoch: Callable[[int], EpochRow],
    monitor: str | None = None,
    mode: Literal["min", "max"] = "min",
    patience: int | None = None,
    gradient_clip: float | None = None,
    callbacks: Sequence[pl.Callback] = (),
    what: str,
) -> Fit:
    """Train `module` in place for `epochs`, continuing from a resume state where there is one.

    A batch in micro-batches (`compute.micro_batch`, or because a GPU's memory ran out) gives the loss and gradient of
    the whole batch up to rounding where the loss is a mean over images; BatchNorm's statistics and random draws are
    those of each micro-batch. With several devices BatchNorm's statistics are those of the whole batch, and each
    device has its own random draws.

    Args:
        module: its `training_step` returns {'loss': ..., further terms}, each a mean over the batch; their means over
            the epoch's steps become the columns `fit/<term>`.
        batches: gives exactly `steps_per_epoch` batches for an epoch, and depends on nothing but the epoch. With
            `EpochBatches`, batches that are skipped are not drawn.
        steps_per_epoch: number of batches.
        epochs: number of epochs; for `batches` and `end_of_epoch` they count from 0.
        session: the hardware, the seed and the folder of the resume state.
        log: receives each epoch's row with its number, from 1, as `step`, with the gradient norm and the cost of the
            epoch. When a training continues, the rows of earlier epochs are logged again: a log that keeps points must
            drop those that it has.
        settings: all that the result depends on; a resume state made under other settings is refused.
        end_of_epoch: called with the epoch, in evaluation mode, without gradients and in the session's number format;
            gives the rest of the epoch's row. Only the leading process calls it.
        monitor: column whose lowest (or highest, see `mode`) value chooses the best epoch; None: the last epoch.
        mode: "min" or "max".
        patience: epochs without a better value after which training stops.
        gradient_clip: L2 norm to which a longer gradient is shortened.
        callbacks: their `state_dict`, where it is not empty, is a part of the resume state.
        what: name of the training in errors and progress lines.

    Returns:
        The same in all processes. The caller calls `session.forget()` when it has saved what it needs.

    Raises:
        CheckpointError: where the resume state is of other settings or other code.
        TrainingError: where a loss is not finite; the images of its batch are listed in the folder of the resume state.
    """
    if epochs < 1 or steps_per_epoch < 1:
        raise TrainingError(f"{what}: {epochs} epochs of {steps_per_epoch} batches leave nothing to learn from")
    numbers = {"seed": session.seed, "epochs": epochs, "compute.precision": session.precision}
    job = TrainingJob(
        what=what,
        batches=batches,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        session=session,
        log=log if session.leads else SilentLog(),
        settings=checkpoints.flat({**numbers, **settings}),
        end_of_epoch=end_of_epoch,
        gradient_clip=gradient_clip,
    )
    found = checkpoints.find_state(session.checkpoint, job.settings, what, job.log)
    if found is not None:
        checkpoints.check_weights(found, module.state_dict(), what)
    session.place(module)
    if session.compile:
        for child in module.children():
            child.compile()  # in place: names in the state dict stay
    module.train()
    history = History(monitor=monitor, mode=mode, patience=patience)
    training = TrainingCallback(job, TrainingState(history=history))
    if found is not None:
        training.resume(found)
        for callback in callbacks:
            _restore(callback, found, what)
    if not training.finished:
        _train(module, training, callbacks, found)
    return Fit(history.rows, history.best + 1, history.best_state)


def _restore(callback: pl.Callback, found: checkpoints.State, what: str) -> None:
    """Lightning restores a callback only where an epoch is left to train."""
    if callback.state_dict():
        callback.load_state_dict(checkpoints.callback_state(found, callback.state_key, what))


def _train(
    module: pl.LightningModule,
    training: TrainingCallback,
    callbacks: Sequence[pl.Callback],
    found: checkpoints.State | None,
) -> None:
    """Run Lightning, with all of its own output, logging and checkpoints switched off."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    job, session = training.job, training.job.session
    trainer = pl.Trainer(
        accelerator=session.device,
        devices=session.compute.devices,
        num_nodes=session.compute.num_nodes,
        strategy=session.compute.strategy,
        precision=session.precision,
        max_epochs=job.epochs,
        callbacks=[*callbacks, training],
        plugins=[_environment(session), *([CommonStatistics()] if session.world > 1 else [])],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit_loop.epoch_loop.automatic_optimization = MicroBatchedOptimization(
        trainer, job=job, state=training.state, size=training.micro_batch
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # Lightning 2.6 under torch 2.15
        warnings.filterwarnings("ignore", "Found .* in eval mode")  # as a frozen encoder should be
        trainer.fit(
            module, _RemainingBatches(trainer, training), ckpt_path=found.path if found else None, weights_only=True
        )


def _environment(session: Session) -> LightningEnvironment | TorchElasticEnvironment:
    """What started the processes: torchrun or Lightning; with one process, other tools' variables are ignored."""
    return (
        TorchElasticEnvironment() if session.world > 1 and TorchElasticEnvironment.detect() else LightningEnvironment()
    )


class _RemainingBatches:
    """The batches of the current epoch from the current step on, for Lightning."""

    def __init__(self, trainer: pl.Trainer, training: TrainingCallback) -> None:
        self.trainer, self.training = trainer, training

    def __len__(self) -> int:
        return self.training.job.steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        training, job, state = self.training, self.training.job, self.training.state
        training.cost = EpochCost()
        drawn = batch_parts(job.batches(state.epoch), state.step, job.session.rank, job.session.world)
        title = f"{job.what}, epoch {state.epoch + 1}/{job.epochs}"
        with closing(prefetch(drawn, job.session.device)) as ready:
            for part in job.log.track(training.cost.measure(ready), job.steps_per_epoch - state.step, title):
                state.part = part
                yield part.batch
                training.between_steps(self.trainer)

    def state_dict(self) -> dict[str, Any]:
        """Empty: the training's state holds the step. With this method, Lightning continues an epoch."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
