"""frozen_vs_full_passes: 20 epochs of the frozen protocol on cached features, against a pass of each image per epoch.

The features are those of images without augmentation (`finetune.views: 0`). Both ways evaluate train and val after
each epoch on cached features. So 21 passes over train and one over val become one and one, which bounds the ratio at
19. The epochs of the head, 3 ms per step, have a larger share the fewer images there are; HAM10000 has fourteen times
as many as here. Both ways give the same numbers where they use the same views:
tests/unit/flows/test_finetune_views.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.feeding import noise
from benchmarks.measure import Result, ratios, summarise
from benchmarks.trainings import CLASSES, build_conditions, open_cpu_session
from components.base.log import SilentLog
from components.models.backbones.efficientnet_lite0 import Config as EfficientNetLite0
from components.training.conditions import Phase
from components.training.examples import Examples
from components.training.finetuning import finetune_encoder
from components.training.settings import Schedule

EPOCHS, SIZE = 20, 64
TRAIN, VAL = 512, 64
COMMAND = "python -m benchmarks frozen"


def run() -> list[Result]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        train, val = (noise(Path(folder) / f"{count}", SIZE, CLASSES, count) for count in (TRAIN, VAL))
        values = ratios(*(training(train, val, views) for views in (0, None)), repeats=5)
    return [summarise("frozen_vs_full_passes", values, "at least 10", "x", COMMAND)]


def training(train: Examples, val: Examples, views: int | None) -> Callable[[], object]:
    backbone, log = EfficientNetLite0(), SilentLog()
    phase = Phase("head", Schedule(epochs=EPOCHS, learning_rate=1e-3))
    conditions = build_conditions(phase, batch_size=64, views=views)
    session = open_cpu_session(backbone.cpu)
    torch.manual_seed(0)
    encoder = backbone.build()
    return lambda: finetune_encoder(
        encoder,
        train=train,
        val=val,
        conditions=conditions,
        session=session,
        log=log,
        settings={},
        what="benchmark",
    )
