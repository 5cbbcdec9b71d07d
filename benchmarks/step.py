"""step_vs_bare_loop, framework_overhead: an epoch through the one call that fits a module, against a bare loop.

Both make the same steps on the same batches, those of presets/ham10000.yaml, 0.4 s each; `fit` adds the start of the
trainer, reseeding, the gradient norm, the check for a loss that is not finite, the epoch's row and its best weights.
This overhead does not depend on the length of a step, and with long steps it is smaller than the noise of the machine.
So `framework_ms_a_step` is the difference over many short steps; its number in ms is also the percentage that it adds
to a step of 100 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmarks.measure import Result, ratios, rounds, summarise
from benchmarks.trainings import open_cpu_session
from components.base.log import SilentLog
from components.models.backbones.efficientnet_lite0 import Config as EfficientNetLite0
from components.models.classifier import Classifier, build_head
from components.training.learner import Learner
from components.training.loop import fit
from components.training.losses import build_objective
from components.training.optimizers import adamw

COMMAND = "python -m benchmarks step"


@dataclass(frozen=True)
class EpochSize:
    """Number of batches, images per batch, and the images' side in pixels."""

    steps: int
    batch: int
    size: int


USUAL, SHORT = EpochSize(steps=8, batch=64, size=64), EpochSize(steps=50, batch=4, size=32)


def run() -> list[Result]:
    torch.set_num_threads(1)
    values = ratios(lambda: fitted(USUAL), lambda: bare(USUAL), repeats=9)
    short = rounds(lambda: fitted(SHORT), lambda: bare(SHORT))
    slower = [100 * (1 / value - 1) for value in values]
    added = [1000 * (ours - theirs) / SHORT.steps for ours, theirs in short]
    return [
        summarise("step_vs_bare_loop", values, "at least 0.95", "x", COMMAND),
        summarise("framework_overhead", slower, "at most 2", "%", COMMAND),
        summarise("framework_ms_a_step", added, "none", "ms CPU", COMMAND),
    ]


def learner(epoch: EpochSize) -> Learner:
    torch.manual_seed(0)
    encoder = EfficientNetLite0().build().to(memory_format=torch.channels_last)
    classifier = Classifier(encoder, build_head(encoder.feature_sizes, 256, 0.2, 7, seed=0))
    objective = build_objective("none", np.arange(7), 7, 2.0)
    build_optimizer = partial(adamw, learning_rate=1e-4, weight_decay=0.05, total_steps=epoch.steps)
    return Learner(classifier, trains="all", objective=objective, build_optimizer=build_optimizer)


def batches(epoch: EpochSize) -> list[tuple[torch.Tensor, torch.Tensor]]:
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 256, (epoch.steps, epoch.batch, epoch.size, epoch.size, 3), dtype=np.uint8)
    labels = torch.from_numpy(numbers.integers(0, 7, epoch.batch))
    return [(torch.from_numpy(batch).permute(0, 3, 1, 2), labels) for batch in images]


def bare(epoch: EpochSize) -> None:
    module = learner(epoch).train()
    found = module.configure_optimizers()
    optimizer, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
    for number, batch in enumerate(batches(epoch)):
        optimizer.zero_grad(set_to_none=True)
        module.training_step(batch, number)["loss"].backward()
        optimizer.step()
        schedule.step()


def fitted(epoch: EpochSize) -> None:
    session = open_cpu_session(EfficientNetLite0().cpu)
    fit(
        learner(epoch), lambda _: batches(epoch), epoch.steps, epochs=1, session=session, log=SilentLog(), settings={},
        end_of_epoch=lambda _: {"val/loss": 0.0}, monitor="val/loss", what="benchmark",
    )  # fmt: skip
