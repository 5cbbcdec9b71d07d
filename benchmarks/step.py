"""step_vs_bare_loop: an epoch through the one call that fits a module, against the same steps in a bare loop."""

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

STEPS, BATCH, SIZE = 6, 64, 64


def learner() -> Learner:
    torch.manual_seed(0)
    encoder = EfficientNetLite0().build().to(memory_format=torch.channels_last)
    classifier = Classifier(encoder, build_head(encoder.feature_dim, 256, 0.2, 7, seed=0))
    objective = build_objective("none", np.arange(7), 7, 2.0)
    return Learner(
        classifier, "full", objective, partial(adamw, learning_rate=1e-4, weight_decay=0.05, total_steps=999)
    )


def batches(_epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 256, (STEPS, BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    labels = torch.from_numpy(numbers.integers(0, 7, BATCH))
    return [(torch.from_numpy(batch).permute(0, 3, 1, 2), labels) for batch in images]


def bare() -> None:
    module = learner().train()
    optimiser = adamw(module, learning_rate=1e-4, weight_decay=0.05, total_steps=999)["optimizer"]
    for number, batch in enumerate(batches(0)):
        optimiser.zero_grad(set_to_none=True)
        module.training_step(batch, number)["loss"].backward()
        optimiser.step()


def fitted() -> None:
    profile = EfficientNetLite0().cpu
    session = open_session("cpu", 1, "auto", False, cpu=profile, seed=0, checkpoint=None, log=SilentLog())
    fit(
        learner(), batches, STEPS, epochs=1, session=session, log=SilentLog(), settings={},
        end_of_epoch=lambda _: {"val/loss": 0.0}, what="benchmark",
    )  # fmt: skip


def run() -> list[Result]:
    torch.set_num_threads(1)
    values = ratios(fitted, bare)
    return [summarise("step_vs_bare_loop", values, "at least 0.95", "x", "python -m benchmarks step")]
