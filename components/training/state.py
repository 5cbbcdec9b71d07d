"""The state of one training: history, best weights, resume state, and when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from components.base.errors import CheckpointError, TrainingError
from components.base.files import whole
from components.base.log import Log
from components.training import checkpoints
from components.training.batches import Epoch as Epoch
from components.training.batches import Part, count_rows
from components.training.batches import generator as generator  # who trains needs these too, from one place
from components.training.batches import shuffled as shuffled
from components.training.epoch_cost import Row, _Cost
from components.training.session import Session as Session
from components.training.session import open_session as open_session

SUSPECTS = "offending-batch.csv"


LOOK_EVERY = 50  # steps, on a GPU or several devices


FEWEST = 3  # images at once: two would leave one of an odd batch alone, from which BatchNorm cannot learn


STREAM = 1  # apart from other random numbers of the same seed and epoch


NORM = "gradient_norm"


MEND = "the usual mend is a lower learning_rate (params.yaml)"


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
