"""loader_vs_step: how many times faster the images of a batch are drawn than a training step uses them, in CPU time.

Measured for each shipped preset with its own image size, backbone, augmentation and protocols; the lowest ratio is
reported. Images are noise and batches have 16 images, which changes neither side much. A step is forward, backward and
optimizer in the number format that the preset has on a CPU, also for presets that are meant for a GPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ruamel.yaml import YAML

from benchmarks.measure import Result, ratios, summarise
from benchmarks.trainings import open_cpu_session
from components.base.run_id import FinetuneProtocol
from components.data.pixels import read_pixels, write_pixels
from components.models.classifier import Classifier, build_head
from components.training.conditions import build_conditions
from components.training.examples import Examples
from components.training.finetune_batches import FinetuneBatches
from components.training.learner import build_learner
from flows.presets import preset_names, render
from flows.settings import Settings, parse_settings

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


def sides(
    settings: Settings, protocol: FinetuneProtocol, folder: Path
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Draw COUNT images; train on as many, in the last phase of the protocol."""
    train = noise(folder, settings.pack.image_size, settings.labels.classes)
    finetune = settings.finetune.model_copy(update={"batch_size": BATCH})
    conditions = build_conditions(
        protocol, classes=settings.labels.classes, augment=settings.augment, finetune=finetune
    )
    batches = FinetuneBatches(train, replace(conditions, phases=conditions.phases[-1:]), seed=0)
    return lambda: list(batches.mixed(0)), step(settings, batches)


def noise(folder: Path, size: int, classes: tuple[str, ...], count: int = COUNT) -> Examples:
    numbers = np.random.default_rng(0)
    names = [f"{row}" for row in range(count)]
    labels = [classes[row % len(classes)] for row in range(count)]
    columns = {"image_id": names, "label": labels, "lesion_id": names, "group": names}
    write_pixels(folder, numbers.integers(0, 256, (count, size, size, 3), np.uint8), pd.DataFrame(columns), size)
    pixels = read_pixels(folder)
    return Examples(pixels, pixels.labels(classes))


def step(settings: Settings, batches: FinetuneBatches) -> Callable[[], object]:
    session, conditions = open_cpu_session(settings.backbone.cpu), batches.conditions
    torch.manual_seed(0)
    encoder, head = settings.backbone.build(), conditions.finetune.head
    classifier = Classifier(
        encoder, build_head(encoder.feature_sizes, head.hidden, head.dropout, len(conditions.classes), seed=0)
    )
    (phase,) = conditions.phases
    learner = build_learner(classifier, phase, conditions, batches.train.labels, batches.steps).train()
    for module in (learner, encoder):
        session.place(module)
    optimizer, drawn = learner.configure_optimizers()["optimizer"], list(batches.mixed(0))

    def work() -> None:
        for number, batch in enumerate(drawn):
            optimizer.zero_grad(set_to_none=True)
            with session.autocast():
                loss = learner.training_step(batch, number)["loss"]
            loss.backward()
            optimizer.step()

    return work
