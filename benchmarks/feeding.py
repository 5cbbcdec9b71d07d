"""loader_vs_step: how many times more images an epoch's drawing gives than its training step takes, in CPU time.

Every shipped preset with its own size, backbone, policy and protocols; what is reported is the least of them. Images
are noise and batches at most 16, which changes neither side much. A step is forward, backward and optimiser in the
number format that the preset has on a CPU; presets meant for a GPU are measured on a CPU all the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ruamel.yaml import YAML

from benchmarks.measure import Result, ratios, summarise
from components.base.log import SilentLog
from components.data.pixels import read_pixels, write_pixels
from components.models.classifier import Classifier, build_head
from components.training.conditions import Conditions, Phase
from components.training.examples import Examples
from components.training.finetune_batches import Feed
from components.training.learner import build_learner
from components.training.session import open_session
from flows.presets import preset_names, render
from flows.settings import Settings, parse_settings
from flows.stage_io.training import build_conditions

COUNT, BATCH = 32, 16
COMMAND = "python -m benchmarks feeding"


def run() -> list[Result]:
    torch.set_num_threads(1)
    measured = {}
    for preset in preset_names():
        settings = parse_settings(YAML(typ="safe").load(render(preset, [])), preset)
        for protocol in settings.study.protocols:
            with tempfile.TemporaryDirectory() as folder:
                measured[preset, protocol] = ratios(*sides(settings, protocol, Path(folder)), repeats=5)
            print(f"  {preset}, {protocol}: {np.median(measured[preset, protocol]):.1f} x")
    least = min(measured.values(), key=np.median)
    return [summarise("loader_vs_step", least, "at least 10", "x", COMMAND)]


def sides(settings: Settings, protocol: Any, folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Draw COUNT images; learn from as many."""
    train = noise(folder, settings.pack.image_size, settings.labels.classes)
    conditions = build_conditions(protocol, settings.labels, settings.augment, settings.finetune)
    phase = Phase(protocol, epochs=1, learning_rate=1e-4)
    conditions = replace(conditions, phases=[phase], batch_size=BATCH)
    feed = Feed(train, conditions, seed=0)
    return lambda: list(feed.mixed(0)), step(settings, phase, conditions, feed)


def noise(folder: Path, size: int, classes: tuple[str, ...], count: int = COUNT) -> Examples:
    numbers = np.random.default_rng(0)
    names = [f"{row}" for row in range(count)]
    labels = [classes[row % len(classes)] for row in range(count)]
    columns = {"image_id": names, "label": labels, "lesion_id": names, "group": names}
    write_pixels(folder, numbers.integers(0, 256, (count, size, size, 3), np.uint8), pd.DataFrame(columns), size)
    pixels = read_pixels(folder)
    return Examples(pixels, pixels.labels(classes))


def step(settings: Settings, phase: Phase, conditions: Conditions, feed: Feed) -> Callable[[], object]:
    session = open_session("cpu", 1, cpu=settings.backbone.cpu, seed=0, checkpoint=None, log=SilentLog())
    torch.manual_seed(0)
    encoder = settings.backbone.build()
    head = build_head(encoder.feature_dim, conditions.hidden, conditions.dropout, len(conditions.classes), seed=0)
    learner = build_learner(Classifier(encoder, head), phase, conditions, feed.train.labels, feed.steps).train()
    for module in (learner, encoder):
        session.place(module)
    optimiser, batches = learner.configure_optimizers()["optimizer"], list(feed.mixed(0))

    def work() -> None:
        for number, batch in enumerate(batches):
            optimiser.zero_grad(set_to_none=True)
            with session.autocast():
                loss = learner.training_step(batch, number)["loss"]
            loss.backward()
            optimiser.step()

    return work
