"""A training of milliseconds for tests of the loop: a module with all that has a state or random draws."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn

from components.base.log import SilentLog
from components.training.batches import shuffled_batches
from components.training.loop import fit
from components.training.optimizers import adamw
from components.training.session import Session
from tests.unit.training.small_settings import cpu_session

IMAGES = torch.tensor(np.random.default_rng(0).normal(size=(22, 3, 6, 6)), dtype=torch.float32)
TARGETS = IMAGES.mean(dim=(1, 2, 3))[:, None] * 5
EPOCHS, BATCH = 4, 5
STEPS = len(shuffled_batches(len(IMAGES), BATCH, 0, 0))


class Toy(pl.LightningModule):
    """Convolution, BatchNorm and dropout: everything that has a state or draws numbers."""

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        torch.manual_seed(0)
        trunk = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.net = nn.Sequential(*trunk, nn.Dropout(0.3), nn.Linear(4, 1))
        self.rate = rate

    def training_step(self, batch, _):
        images, targets = batch
        error = (self.net(images) - targets).square().mean()
        penalty = self.net[0].weight.square().mean()
        return {"loss": error + 0.1 * penalty, "error": error, "penalty": penalty}

    def configure_optimizers(self):
        return adamw(self, self.rate, 0.05, EPOCHS * STEPS)


def toy_session(checkpoint=None, **changes) -> Session:
    return cpu_session(checkpoint=checkpoint, **changes)


def toy_batches(epoch: int, stop_in: int | None = None):
    for step, rows in enumerate(shuffled_batches(len(IMAGES), BATCH, 0, epoch)):
        if epoch == stop_in and step == 2:
            raise KeyError("killed")
        yield IMAGES[rows], TARGETS[rows]


def train_toy(module=None, session=None, log=None, stop_in=None, batches=None, **changes):
    module = module or Toy()
    given = {
        "epochs": EPOCHS,
        "session": session or toy_session(),
        "log": log or SilentLog(),
        "settings": {"finetune": {"learning_rate": 0.01}},
        "end_of_epoch": lambda epoch: {"val/loss": float((module.net(IMAGES) - TARGETS).square().mean())},
        "what": "toy",
    }
    result = fit(module, batches or (lambda epoch: toy_batches(epoch, stop_in)), STEPS, **(given | changes))
    return module, result


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == twin and torch.equal(value, copy) for (name, value), (twin, copy) in pairs)


def logged_rows(log: SilentLog) -> list[tuple[int, dict[str, float]]]:
    """What a log heard, without what the history has not: health, and what the epoch cost."""
    extra = ("system/", "fit/gradient_norm")
    return [(step, {name: v for name, v in row.items() if not name.startswith(extra)}) for step, row in log.points]


class Plain(Toy):
    """Without BatchNorm and dropout: what a piece of a batch gives does not depend on the rest."""

    def __init__(self, rate: float = 0.01, room: int = 99) -> None:
        super().__init__(rate)
        self.net[1] = nn.GroupNorm(2, 4)
        self.net[5] = nn.Identity()
        self.room, self.seen = room, []

    def training_step(self, batch, index):
        self.seen.append(len(batch[0]))
        if len(batch[0]) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (a GPU in this test's place)")
        return super().training_step(batch, index)


class Sgd(Plain):
    """Its weights are a linear function of the gradients; AdamW divides their rounding by next to nothing."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)
