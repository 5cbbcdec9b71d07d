"""The one call that fits a module: device, precision, batches as a function of the epoch, exact resuming.

PyTorch Lightning carries the loop. What this file adds is that a step is a pure function of the state before it,
the seed, the epoch's and its own number: batches come from `batches(epoch)`, dropout and other draws are reseeded at
each step. So a training that was killed and goes on from any step equals one that was not.
"""

from __future__ import annotations

import logging
import math
import resource
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.loops.optimization.automatic import Closure, ClosureResult, _AutomaticOptimization
from pytorch_lightning.loops.utilities import _block_parallel_sync_behavior
from torch import Tensor

from components.base.errors import CheckpointError, TrainingError
from components.base.files import whole
from components.base.log import Log, SilentLog
from components.training import checkpoints
from components.training.batches import Epoch as Epoch
from components.training.batches import Part, count_rows, parts, pieces
from components.training.batches import generator as generator  # who trains needs these too, from one place
from components.training.batches import shuffled as shuffled
from components.training.prefetch import prefetch
from components.training.session import Session as Session
from components.training.session import open_session as open_session
from components.training.sync_batch_norm import CommonStatistics

Row = dict[str, float]

SUSPECTS = "offending-batch.csv"
LOOK_EVERY = 50  # steps, on a GPU or several devices
FEWEST = 3  # images at once: two would leave one of an odd batch alone, from which BatchNorm cannot learn
STREAM = 1  # apart from other random numbers of the same seed and epoch
NORM = "gradient_norm"
MEND = "the usual mend is a lower learning_rate (params.yaml)"


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


@dataclass
class _Cost:
    """What an epoch has cost this process so far."""

    began: float = field(default_factory=time.monotonic)
    waited: float = 0.0  # seconds, for batches to be drawn
    images: int = 0  # of the whole batches, on all devices

    def of(self, coming: Iterator[Part]) -> Iterator[Part]:
        """Hand `coming` on, taking the time."""
        while True:
            asked = time.monotonic()
            part = next(coming, None)
            self.waited += time.monotonic() - asked
            if part is None:
                return
            self.images += part.whole
            yield part

    def tell(self, device: str) -> Row:
        """Rate, wait and memory; a GPU may have worked on while the next batch was drawn."""
        seconds = time.monotonic() - self.began
        on_gpu = device == "cuda"
        peak = torch.cuda.max_memory_allocated() if on_gpu else _peak_rss()
        return {
            "system/images_per_second": self.images / seconds,
            "system/data_wait_share": self.waited / seconds,
            "system/peak_memory_gib": peak / 2**30,
        }


def _peak_rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts KiB


class _InPieces(_AutomaticOptimization):
    """Lightning's optimisation, but for a step's batch in pieces where memory is short.

    Lightning accumulates over whole steps, which would change what a step is.
    """

    def __init__(self, trainer: pl.Trainer, run: _Run) -> None:
        super().__init__(trainer)
        self.run_of = run  # Lightning's own `run` is a method

    def _make_closure(self, kwargs: Any, optimizer: torch.optim.Optimizer, batch_idx: int) -> Closure:
        def step(piece: Any) -> ClosureResult:
            return self._training_step(type(kwargs)(kwargs, batch=piece))

        zero, backward = self._make_zero_grad_fn(batch_idx, optimizer), self._make_backward_fn(optimizer)
        return _Pieces(self.trainer, self.run_of, kwargs["batch"], step, backward, zero)


class _Pieces(Closure):
    """One step's forward and backward passes; the gradients of all pieces add up to the whole batch's."""

    def __init__(self, trainer: pl.Trainer, run: _Run, batch: Any, step: Any, backward: Any, zero: Any) -> None:
        super().__init__(step, backward, zero)
        self.trainer, self.run, self.batch = trainer, run, batch
        self.step, self.backward, self.zero = step, backward, zero

    @torch.enable_grad()
    def closure(self, *_args: Any, **_named: Any) -> ClosureResult:
        """Until it fits into memory: what is over is undone before the next attempt."""
        while True:
            before = self._statistics()
            try:
                result = self._add_up()
            except torch.cuda.OutOfMemoryError as error:
                self.run.shrink(error)  # raises where it cannot be mended
            else:
                self.run.fits = max(self.run.fits, self.run.part.whole)
                return result
            self._undo(before)

    def _add_up(self) -> ClosureResult:
        run = self.run
        terms: dict[str, Any] = {}
        cuts = pieces(run.part, self.batch, run.at_once, run.session.world)
        for number, (share, piece) in enumerate(cuts):
            with _block_parallel_sync_behavior(self.trainer.strategy, block=number + 1 < len(cuts)):
                result = self.step(piece)
                if number == 0:
                    self.zero()
                self.backward(result.closure_loss * share)
            for name, value in result.asdict().items():
                terms[name] = terms.get(name, 0.0) + value.detach() * share
        return ClosureResult(terms.pop("loss"), extra=terms)

    def _statistics(self) -> list[tuple[Tensor, Tensor]]:
        """BatchNorm's, at the first batch of its size: later ones need no more memory."""
        if self.run.part.whole <= self.run.fits:
            return []
        return [(buffer, buffer.clone()) for buffer in self.trainer.lightning_module.buffers()]

    def _undo(self, before: list[tuple[Tensor, Tensor]]) -> None:
        for buffer, then in before:
            buffer.data.copy_(then)
        self.trainer.lightning_module.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        self.run.reseed()


@dataclass(eq=False, repr=False)
class _Run(pl.Callback):
    """One training: its history, its best weights, its resume state."""

    batches: Callable[[int], Iterable[Any]]
    steps_per_epoch: int
    epochs: int
    session: Session
    journal: Log  # Lightning overwrites a callback's `log`
    conditions: Mapping[str, str]
    end_of_epoch: Callable[[int], Row]
    monitor: str | None
    mode: Literal["min", "max"]
    patience: int | None
    what: str
    at_once: int | None  # images a device takes at once
    clip: float | None  # L2 norm to which a longer gradient is shortened
    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best_state: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0  # how many of the present epoch are done
    terms: dict[str, list[float]] = field(default_factory=dict)  # of all devices, one a step that was looked at
    latest: list[dict[str, Tensor]] = field(default_factory=list)  # this device's, one a step since
    rates: list[float] = field(default_factory=list)  # the learning rate, one a step
    norm: Tensor | None = None  # of the present step's gradient, before clipping
    fits: int = 0  # the largest batch that memory was enough for
    saved: float = field(default_factory=time.monotonic)  # when the last resume state was written
    trainer: pl.Trainer = field(init=False)
    part: Part = field(init=False)  # of the present batch
    cost: _Cost = field(init=False)  # of the present epoch

    def state_dict(self) -> dict[str, Any]:
        """What the resume state keeps beside weights, optimiser and schedule."""
        names = ("history", "best_epoch", "best_state", "step", "terms", "rates", "at_once")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`; images at once stay as few as they had to become."""
        limits = [limit for limit in (self.at_once, state_dict["at_once"]) if limit is not None]
        vars(self).update(state_dict)
        self.at_once = min(limits, default=None)

    def take_up(self, state: checkpoints.State) -> None:
        """Go on where the resume state ends, and tell the log the epochs before."""
        self.load_state_dict(state.content["callbacks"][self.state_key])
        within = f", step {self.step} of the next" if self.step else ""
        self.journal.line(f"{self.what}: going on after epoch {len(self.history)} of {self.epochs}{within}")
        for epoch, row in enumerate(self.history):
            self.journal.metrics(row, step=epoch)

    def on_fit_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """All devices must go on from one step: a host that does not see the resume state would begin anew."""
        mine = len(self.history), self.step
        leading = tuple(trainer.strategy.broadcast(mine))
        if mine != leading:
            raise CheckpointError(
                f"{self.what}: process {self.session.rank} goes on after epoch {mine[0]}, step {mine[1]}, the leading "
                f"one after epoch {leading[0]}, step {leading[1]}: all hosts must share {self.session.checkpoint}"
            )

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        waited = len(self.history) - 1 - self.best_epoch
        return len(self.history) >= self.epochs or (self.patience is not None and waited >= self.patience)

    def reseed(self) -> None:
        """Dropout and posterior samples start each step anew, so no generator's state need be kept."""
        key = (self.session.seed, len(self.history), self.step, self.session.rank, STREAM)
        seed = int(generator(*key).integers(2**63))
        if self.session.device == "cpu":
            torch.default_generator.manual_seed(seed)  # without a GPU torch.manual_seed keeps each caller's traceback
        else:
            torch.manual_seed(seed)

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Note the step's learning rate."""
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.reseed()

    def on_before_optimizer_step(
        self, _trainer: pl.Trainer, _module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Note the gradient's norm, on its device: a look would stop a GPU. Then clip it.

        Lightning refuses to clip for a fused optimiser under autocast, as if every autocast scaled gradients.
        """
        learns = [weight for group in optimizer.param_groups for weight in group["params"]]
        self.norm = torch.nn.utils.get_total_norm([weight.grad for weight in learns if weight.grad is not None])
        if self.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(learns, self.clip, self.norm)

    def on_train_batch_end(self, *given: Any) -> None:
        """Note the step's terms; look at them at once on a CPU, now and then on a GPU, which a look stops."""
        _trainer, _module, outputs, *_ = given
        norm = {} if self.norm is None else {NORM: self.norm}
        self.latest.append({name: value.detach() for name, value in outputs.items()} | norm)
        self.step += 1
        alone_on_cpu = self.session.device == "cpu" and self.session.world == 1
        if alone_on_cpu or self.step % LOOK_EVERY == 0:
            self._look()

    def _look(self) -> None:
        """Bring the latest terms to the CPU, as means over devices; stop at the first loss that is not finite."""
        if not self.latest:
            return
        names, reduce = list(self.latest[0]), self.trainer.strategy.reduce
        block = torch.stack([torch.stack([terms[name].float() for name in names]) for terms in self.latest])
        columns = reduce(block, reduce_op="mean").cpu().T.tolist()
        first, self.latest = len(self.terms.get("loss", [])), []
        for name, column in zip(names, columns, strict=True):
            self.terms.setdefault(name, []).extend(column)
        for step in range(first, self.step):
            if not math.isfinite(self.terms["loss"][step]):
                self._give_up(step)

    def _give_up(self, step: int) -> None:
        terms = ", ".join(f"{name} = {column[step]:.6g}" for name, column in self.terms.items() if name != NORM)
        raise TrainingError(
            f"{self.what}: the loss is not finite in epoch {len(self.history) + 1}, step {step + 1}: "
            f"{terms}{self._keep_suspects(step)}; {MEND}"
        )

    def _keep_suspects(self, step: int) -> str:
        """Which images stood in the step's batch, as a file beside the resume state."""
        epoch, folder = self.batches(len(self.history)), self.session.checkpoint
        if folder is None or not isinstance(epoch, Epoch):
            return ""
        rows = epoch.rows[step]
        names = epoch.names(rows) if epoch.names else [""] * len(rows)
        lines = [f"{row},{name}" for row, name in zip(rows, names, strict=True)]
        if self.session.leads:
            with whole(folder / SUSPECTS) as unfinished:
                unfinished.write_text("\n".join(["row,name", *lines, ""]))
            self.journal.artifact(folder / SUSPECTS)
        return f"; its images stand in {folder / SUSPECTS}"

    def between_steps(self) -> None:
        """Write a resume state where it is time; what the last step changed is complete by now."""
        if self._is_due():
            self._look()
            self._save()

    def _is_due(self) -> bool:
        """By steps or by the leading process's clock, which several devices ask only now and then."""
        session = self.session
        if session.checkpoint is None:
            return False
        if session.checkpoint_steps is not None and self.step % session.checkpoint_steps == 0:
            return True
        if session.checkpoint_minutes is None or (session.world > 1 and self.step % LOOK_EVERY):
            return False
        over = time.monotonic() - self.saved >= 60 * session.checkpoint_minutes
        return bool(self.trainer.strategy.broadcast(over))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, remember, keep the best, write the resume state."""
        self._look()
        health = self._health()
        row = self._fit_row() | self._measure(pl_module) | {"learning_rate": float(np.mean(self.rates))}
        self._check_row(row)
        self.history.append(row)
        self.step, self.terms, self.rates = 0, {}, []
        self.journal.metrics(row | health, step=len(self.history) - 1)
        if self._is_best(row):
            self.best_epoch = len(self.history) - 1
            self.best_state = {name: w.detach().cpu().clone() for name, w in pl_module.state_dict().items()}
        self._save()
        trainer.should_stop = self.finished

    def _fit_row(self) -> Row:
        """Means over the epoch's steps of each term."""
        return {f"fit/{name}": float(np.mean(column)) for name, column in self.terms.items() if name != NORM}

    def _health(self) -> Row:
        """What the log alone is told: times differ from run to run, and a curve must not."""
        norms = self.terms.get(NORM, [])
        grown = {f"fit/{NORM}": float(np.mean(norms)), f"fit/{NORM}_max": max(norms)} if norms else {}
        return grown | self.cost.tell(self.session.device)

    def _measure(self, module: pl.LightningModule) -> Row:
        """On the leading process; the others are told what it found."""
        row: Row = {}
        module.eval()
        if self.session.leads:
            with torch.no_grad(), self.trainer.precision_plugin.forward_context():
                row = self.end_of_epoch(len(self.history))
        module.train()
        found: Row = self.trainer.strategy.broadcast(row)
        return found

    def _check_row(self, row: Row) -> None:
        """A measured loss that is not finite ends the training as one in a step does."""
        wrong = {name: value for name, value in row.items() if name.endswith("/loss") and not math.isfinite(value)}
        if wrong:
            raise TrainingError(
                f"{self.what}: not finite after epoch {len(self.history) + 1}: "
                f"{', '.join(f'{name} = {value}' for name, value in wrong.items())}; {MEND}"
            )

    def _is_best(self, row: Row) -> bool:
        """Whether the row, the history's last, is better than the best before it; ties keep the earlier."""
        if self.monitor is None:
            return True
        if self.monitor not in row:
            raise TrainingError(f"{self.what}: monitor = {self.monitor!r} is none of {sorted(row)}")
        if not self.best_state:
            return True
        new, old = row[self.monitor], self.history[self.best_epoch][self.monitor]
        return new < old if self.mode == "min" else new > old

    def _save(self) -> None:
        """On all devices at once: Lightning waits for each."""
        folder = self.session.checkpoint
        if folder is None:
            return
        self.trainer.save_checkpoint(checkpoints.unfinished_state(folder))
        if self.session.leads:
            checkpoints.keep_state(folder)
        self.saved = time.monotonic()

    def on_save_checkpoint(self, *given: Any) -> None:
        """A resume state carries the settings that it belongs to."""
        _trainer, _module, checkpoint = given
        checkpoint[checkpoints.SETTINGS] = dict(self.conditions)

    def shrink(self, error: Exception) -> None:
        """Half as many images at once: the GPU's memory has run out."""
        here = f"{self.what}: out of GPU memory in epoch {len(self.history) + 1}, step {self.step + 1}"
        now = min(self.at_once or self.part.whole, count_rows(self.part.batch))
        if self.session.world > 1 or now <= FEWEST:
            mend = "set compute.micro_batch lower" if now > FEWEST else "take a smaller backbone or pack.image_size"
            raise TrainingError(f"{here} with {now} images at once: {mend} (params.yaml)") from error
        self.at_once = max(FEWEST, now // 2)
        self.journal.line(f"{here} with {now} images at once: going on with {self.at_once}, the same batch in pieces")
