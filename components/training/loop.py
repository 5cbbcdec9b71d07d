"""The one call that fits a module: device, precision, batches as a function of the epoch, exact resuming.

PyTorch Lightning carries the loop. What this file adds is that a step is a pure function of the state before it,
the seed, the epoch's and its own number: batches come from `batches(epoch)`, dropout and other draws are reseeded at
each step. So a training that was killed and goes on from any step equals one that was not.
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
from components.training.batches import Epoch as Epoch
from components.training.batches import generator as generator  # who trains needs these too, from one place
from components.training.batches import parts
from components.training.batches import shuffled as shuffled
from components.training.epoch_cost import Row, _Cost
from components.training.micro_batching import _InPieces
from components.training.prefetch import prefetch
from components.training.session import Session as Session
from components.training.session import open_session as open_session
from components.training.state import _Run
from components.training.sync_batch_norm import CommonStatistics


@dataclass(frozen=True)
class Fit:
    """What a training gave; the module itself keeps the last epoch's weights."""

    history: list[Row]  # one row an epoch, as in the curves
    best_epoch: int  # counted from 0
    best_state: dict[str, Tensor]  # the module's state dict at the best epoch, on the CPU


def fit(
    module: pl.LightningModule,
    batches: Callable[[int], Iterable[Any]],
    steps_per_epoch: int,
    *,
    epochs: int,
    session: Session,
    log: Log,
    settings: Mapping[str, object],
    end_of_epoch: Callable[[int], Row],
    monitor: str | None = None,
    mode: Literal["min", "max"] = "min",
    patience: int | None = None,
    gradient_clip: float | None = None,
    callbacks: Sequence[pl.Callback] = (),
    what: str,
) -> Fit:
    """Train `module` in place for `epochs`, going on from a resume state if one is there.

    `batches(epoch)` gives exactly `steps_per_epoch` batches and depends on nothing but the epoch; an `Epoch` spares
    the drawing of what is skipped. `training_step` returns {'loss': ..., any further terms}, means over the batch;
    their means over the epoch's steps become `fit/<term>`. `end_of_epoch(epoch)` runs in evaluation mode without
    gradients, in the session's number format, and gives the rest of the epoch's row, which is logged with step=epoch,
    as are the health of the epoch and what it cost; epochs count from 0. The best epoch is that of the lowest (or
    highest) `monitor`; without `monitor` the last. After `patience` epochs without a better value training stops.

    `settings` is all that the result depends on: a resume state made under others raises CheckpointError. It keeps
    what `state_dict` of the module and of the `callbacks` says. Earlier epochs' rows are told to `log` again: one that
    goes on itself must drop points that it holds. The caller ends it with `session.forget()`, once what came of it is
    saved. A loss that is not finite raises TrainingError and leaves its batch's images in the checkpoint's folder.

    A batch in pieces (`session.micro_batch`, or because a GPU's memory ran out) gives the whole batch's loss and
    gradient up to rounding where the loss is a mean over images; BatchNorm's statistics and random draws are a piece's
    own. With several devices BatchNorm's statistics are common to all, and random draws a device's own. Only the
    leading process measures, tells and writes; all give the same Fit.
    """
    if epochs < 1 or steps_per_epoch < 1:
        raise TrainingError(f"{what}: {epochs} epochs of {steps_per_epoch} batches leave nothing to learn from")
    journal = log if session.leads else SilentLog()
    numbers = {"seed": session.seed, "epochs": epochs, "compute.precision": session.precision}
    conditions = checkpoints.flat({**numbers, **settings})
    state = checkpoints.find_state(session.checkpoint, conditions, what, journal)
    if state is not None:
        checkpoints.check_weights(state, module.state_dict(), what)
    session.place(module)
    if session.compile:
        for child in module.children():
            child.compile()  # in place: names in the state dict stay
    module.train()
    run = _Run(
        batches,
        steps_per_epoch,
        epochs,
        session,
        journal,
        conditions,
        end_of_epoch,
        monitor,
        mode,
        patience,
        what,
        at_once=session.micro_batch,
        clip=gradient_clip,
    )
    if state is not None:
        run.take_up(state)
    if not run.finished:
        _train(module, run, callbacks, state)
    return Fit(run.history, run.best_epoch, run.best_state)


def _train(
    module: pl.LightningModule,
    run: _Run,
    callbacks: Sequence[pl.Callback],
    state: checkpoints.State | None,
) -> None:
    """Lightning with everything off that speaks, logs or writes by itself."""
    for voice in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(voice).setLevel(logging.ERROR)
    session = run.session
    run.trainer = trainer = pl.Trainer(
        accelerator=session.device,
        devices=session.devices,
        num_nodes=session.num_nodes,
        strategy=session.strategy,
        precision=session.precision,
        max_epochs=run.epochs,
        callbacks=[*callbacks, run],
        plugins=[_environment(session), *([CommonStatistics()] if session.world > 1 else [])],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit_loop.epoch_loop.automatic_optimization = _InPieces(trainer, run)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # Lightning 2.6 under torch 2.15
        warnings.filterwarnings("ignore", "Found .* in eval mode")  # a frozen encoder is meant to be
        trainer.fit(module, _Batches(run), ckpt_path=state.path if state else None, weights_only=True)


def _environment(session: Session) -> LightningEnvironment | TorchElasticEnvironment:
    """Who started the processes: torchrun, or Lightning itself; others' variables do not concern one process."""
    return (
        TorchElasticEnvironment() if session.world > 1 and TorchElasticEnvironment.detect() else LightningEnvironment()
    )


class _Batches:
    """The present epoch's batches from the present step on, for Lightning; drawn when the first is asked for."""

    def __init__(self, run: _Run) -> None:
        self.run = run

    def __len__(self) -> int:
        return self.run.steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        run, epoch = self.run, len(self.run.history)
        run.cost = _Cost()
        drawn = parts(run.batches(epoch), run.step, run.session.rank, run.session.world)
        title = f"{run.what}, epoch {epoch + 1}/{run.epochs}"
        with closing(prefetch(drawn, run.session.device)) as coming:
            for part in run.journal.track(run.cost.of(coming), run.steps_per_epoch - run.step, title):
                run.part = part
                yield part.batch
                run.between_steps()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: `_Run` knows the step. That it is here tells Lightning that an epoch can be gone on with."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
