"""The one call that fits a module: device, precision, batches as a function of the epoch, exact resuming.

PyTorch Lightning carries the loop. What this file adds is that an epoch is a pure function of the state at
its start, the seed and its number: batches come from `batches(epoch)`, dropout and other draws are reseeded
at each epoch's start. So a training that was killed and goes on from an epoch's end equals one that was not.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor, nn

from components.errors import CheckpointError, TrainingError
from components.log import Log
from components.session import Session as Session  # who trains needs both, from one place
from components.session import open_session as open_session

Row = dict[str, float]

STATE = "last.ckpt"
SETTINGS = "dermflow_settings"
LOOK_EVERY = 50  # steps, on a GPU
MEND = "the usual mend is a lower learning_rate (params.yaml)"
WARM_UP = 0.1  # share of all steps over which the learning rate rises


def generator(*key: int) -> np.random.Generator:
    """Random numbers of their own for each `key`, such as (seed, epoch), among keys of one length."""
    return np.random.default_rng(np.random.SeedSequence(key))


def shuffled(count: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """Row numbers 0..count-1 in a new order each epoch, cut into batches of (B,); the last may be smaller.

    A rest of one image is left out: BatchNorm cannot learn from one.
    """
    order = generator(seed, epoch).permutation(count)
    batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


def adamw(
    module: nn.Module, learning_rate: float, weight_decay: float, total_steps: int
) -> dict[str, Any]:  # Lightning's form of an optimiser with its schedule
    """AdamW (Loshchilov & Hutter 2019) with linear warm-up to `learning_rate`, then a half cosine to 0.

    Biases, norms' gains and other vectors are not decayed. For `configure_optimizers`.
    """
    learnt = [weight for weight in module.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in learnt if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in learnt if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    filled = [group for group in groups if group["params"]]
    optimizer = torch.optim.AdamW(filled, lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_peak(step, total_steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _share_of_peak(step: int, total: int) -> float:
    """Learning rate at `step` of `total`, as a share of its peak."""
    rise = max(1, round(WARM_UP * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))


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
    what: str,
) -> Fit:
    """Train `module` in place for `epochs`, going on from a resume state if one is there.

    `batches(epoch)` gives exactly `steps_per_epoch` batches and depends on nothing but the epoch.
    `training_step` returns {'loss': ..., any further terms}; their means over the epoch's steps become
    `fit/<term>`. `end_of_epoch(epoch)` runs in evaluation mode without gradients, in the session's number
    format, and gives the rest of the epoch's row, which is logged with step=epoch; epochs count from 0.
    The best epoch is that of the lowest (or highest) `monitor`; without `monitor` the last. After `patience`
    epochs without a better value training stops. `settings` is all that the result depends on: a resume
    state made under others raises CheckpointError. The caller ends it with `session.forget()`, once what came of
    it is saved. A loss that is not finite raises TrainingError.
    """
    if epochs < 1 or steps_per_epoch < 1:
        raise TrainingError(f"{what}: {epochs} epochs of {steps_per_epoch} batches leave nothing to learn from")
    conditions = _flat({"seed": session.seed, "epochs": epochs, **settings})
    state = _find_state(session.checkpoint, conditions, what)
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
        log,
        conditions,
        end_of_epoch,
        monitor,
        mode,
        patience,
        what,
    )
    if state is not None:
        run.take_up(state)
    if not run.finished:
        _train(module, run, gradient_clip, state)
    return Fit(run.history, run.best_epoch, run.best_state)


def _train(module: pl.LightningModule, run: _Run, gradient_clip: float | None, state: Path | None) -> None:
    """Lightning with everything off that speaks, logs or writes by itself."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    trainer = pl.Trainer(
        accelerator=run.session.device,
        devices=1,
        precision=run.session.precision,
        max_epochs=run.epochs,
        callbacks=[run],
        plugins=[LightningEnvironment()],  # a scheduler's variables around us do not concern one process
        gradient_clip_val=gradient_clip,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # Lightning 2.6 under torch 2.15
        warnings.filterwarnings("ignore", "Found .* in eval mode")  # a frozen encoder is meant to be
        trainer.fit(module, _Batches(run), ckpt_path=state, weights_only=True)


class _Batches:
    """The present epoch's batches, for Lightning; drawn when the first is asked for."""

    def __init__(self, run: _Run) -> None:
        self.run = run

    def __len__(self) -> int:
        return self.run.steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        run, epoch = self.run, len(self.run.history)
        title = f"{run.what}, epoch {epoch + 1}/{run.epochs}"
        yield from run.journal.track(run.batches(epoch), run.steps_per_epoch, title)


@dataclass(eq=False)
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
    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best_state: dict[str, Tensor] = field(default_factory=dict)
    terms: list[dict[str, Tensor]] = field(default_factory=list)  # one a step of the present epoch
    rates: list[float] = field(default_factory=list)  # the learning rate, one a step
    checked: int = 0  # steps of the present epoch whose loss was seen to be finite

    def state_dict(self) -> dict[str, Any]:
        """What the resume state keeps beside weights, optimiser and schedule."""
        return {"history": self.history, "best_epoch": self.best_epoch, "best_state": self.best_state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.history = list(state_dict["history"])
        self.best_epoch, self.best_state = state_dict["best_epoch"], state_dict["best_state"]

    def take_up(self, state: Path) -> None:
        """Go on where the resume state ends; a new log is told the epochs that an earlier one heard."""
        self.load_state_dict(_read(state)["callbacks"][self.state_key])
        self.journal.line(f"{self.what}: going on after epoch {len(self.history)} of {self.epochs}")
        for epoch, row in enumerate(self.history):
            self.journal.metrics(row, step=epoch)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        waited = len(self.history) - 1 - self.best_epoch
        return len(self.history) >= self.epochs or (self.patience is not None and waited >= self.patience)

    def on_train_epoch_start(self, *_: Any) -> None:
        """Dropout and posterior samples start each epoch anew, so no generator's state need be kept."""
        self.terms, self.rates, self.checked = [], [], 0
        torch.manual_seed(int(generator(self.session.seed, len(self.history), 1).integers(2**63)))

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Note the step's learning rate."""
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, *given: Any) -> None:
        """Note the step's terms; look at them at once on a CPU, now and then on a GPU, which a look stops."""
        _trainer, _module, outputs, *_ = given
        self.terms.append({name: value.detach() for name, value in outputs.items()})
        if self.session.device == "cpu" or len(self.terms) % LOOK_EVERY == 0:
            self._check_terms()

    def _check_terms(self) -> None:
        """Stop at the first step since the last look whose loss is not finite."""
        for step in range(self.checked, len(self.terms)):
            terms = {name: float(value) for name, value in self.terms[step].items()}
            if not math.isfinite(terms["loss"]):
                raise TrainingError(
                    f"{self.what}: the loss is not finite in epoch {len(self.history) + 1}, step {step + 1}: "
                    f"{', '.join(f'{name} = {value:.6g}' for name, value in terms.items())}; {MEND}"
                )
        self.checked = len(self.terms)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, remember, keep the best, write the resume state."""
        self._check_terms()
        row = self._fit_row() | self._measure(trainer, pl_module) | {"learning_rate": float(np.mean(self.rates))}
        self._check_row(row)
        self.history.append(row)
        self.journal.metrics(row, step=len(self.history) - 1)
        if self._is_best(row):
            self.best_epoch = len(self.history) - 1
            self.best_state = {name: w.detach().cpu().clone() for name, w in pl_module.state_dict().items()}
        self._save(trainer)
        trainer.should_stop = self.finished

    def _fit_row(self) -> Row:
        """Means over the epoch's steps of each term."""
        columns = {name: torch.stack([terms[name].float() for terms in self.terms]) for name in self.terms[0]}
        return {f"fit/{name}": float(column.mean()) for name, column in columns.items()}

    def _measure(self, trainer: pl.Trainer, module: pl.LightningModule) -> Row:
        module.eval()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            row = self.end_of_epoch(len(self.history))
        module.train()
        return row

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

    def _save(self, trainer: pl.Trainer) -> None:
        if self.session.checkpoint is None:
            return
        self.session.checkpoint.mkdir(parents=True, exist_ok=True)
        unfinished = self.session.checkpoint / f"{STATE}.part"
        trainer.save_checkpoint(unfinished)
        unfinished.replace(self.session.checkpoint / STATE)

    def on_save_checkpoint(self, *given: Any) -> None:
        """A resume state carries the settings that it belongs to."""
        _trainer, _module, checkpoint = given
        checkpoint[SETTINGS] = dict(self.conditions)


def _find_state(folder: Path | None, conditions: Mapping[str, str], what: str) -> Path | None:
    """The resume state in `folder`, if there is one; refused when made under other conditions."""
    if folder is None or not (folder / STATE).is_file():
        return None
    then = _read(folder / STATE)[SETTINGS]
    for key in sorted(then.keys() | conditions.keys()):
        old, new = then.get(key, "nothing"), conditions.get(key, "nothing")
        if old != new:
            raise CheckpointError(
                f"{what}: {folder / STATE} was made with {key} = {old}, but now it is {new}: "
                f"delete {folder} to start anew, or set {key} back to go on (params.yaml)"
            )
    return folder / STATE


def _read(path: Path) -> dict[str, Any]:
    """A resume state's content; no code in it is run."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        _ = content[SETTINGS], content["callbacks"]
    except Exception as error:  # torch raises many kinds for a broken file
        raise CheckpointError(f"{path}: is no resume state ({error}); delete {path.parent} to start anew") from error
    return content


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys and JSON values."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value)
    return flat
