"""step_vs_bare_loop, framework_overhead: epochs through the one call that fits a module, against a bare loop.

Both take the same steps on the same batches, about 0.12 s each, with all that Lightning and our callbacks add: the
trainer's own start, reseeding, the gradient's norm, the check for a loss that is not finite, the row of each epoch and
its best weights. The longer the steps, the less it weighs.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from benchmarks.measure import Result, ratios, summarise
from components.backbones.efficientnet_lite0 import Config as EfficientNetLite0
from components.classifier import Classifier, build_head, build_objective
from components.finetuning import Learner
from components.log import SilentLog
from components.optimisers import adamw
from components.session import open_session
from components.training import fit

STEPS, BATCH, SIZE, EPOCHS = 16, 24, 64, 2
PAIRS = 11  # the difference is a few percent, a pair's noise as much
COMMAND = "python -m benchmarks step"

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def learner() -> Learner:
    torch.manual_seed(0)
    encoder = EfficientNetLite0().build().to(memory_format=torch.channels_last)
    classifier = Classifier(encoder, build_head(encoder.feature_dim, 256, 0.2, 7, seed=0))
    objective = build_objective("none", np.arange(7), 7, 2.0)
    total = EPOCHS * STEPS
    return Learner(
        classifier, "full", objective, partial(adamw, learning_rate=1e-4, weight_decay=0.05, total_steps=total)
    )


def batches(_epoch: int) -> Batches:
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 256, (STEPS, BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    labels = torch.from_numpy(numbers.integers(0, 7, BATCH))
    return [(torch.from_numpy(batch).permute(0, 3, 1, 2), labels) for batch in images]


def bare() -> None:
    module = learner().train()
    found = module.configure_optimizers()
    optimiser, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
    for epoch in range(EPOCHS):
        for number, batch in enumerate(batches(epoch)):
            optimiser.zero_grad(set_to_none=True)
            module.training_step(batch, number)["loss"].backward()
            optimiser.step()
            schedule.step()


def fitted() -> None:
    profile = EfficientNetLite0().cpu
    session = open_session("cpu", 1, "auto", False, cpu=profile, seed=0, checkpoint=None, log=SilentLog())
    fit(
        learner(), batches, STEPS, epochs=EPOCHS, session=session, log=SilentLog(), settings={},
        end_of_epoch=lambda _: {"val/loss": 0.0}, monitor="val/loss", what="benchmark",
    )  # fmt: skip


def run() -> list[Result]:
    torch.set_num_threads(1)
    values = ratios(fitted, bare, repeats=PAIRS)
    slower = [100 * (1 / value - 1) for value in values]
    return [
        summarise("step_vs_bare_loop", values, "at least 0.95", "x", COMMAND),
        summarise("framework_overhead", slower, "at most 2", "% CPU", COMMAND),
    ]
