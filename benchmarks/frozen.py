"""frozen_vs_full_passes: 20 epochs of the frozen protocol on kept features, against a pass of each image each epoch.

Kept are the features of the images as they are (`finetune.views: 0`). Both ways measure train and val after each
epoch on features that both keep, so of 21 passes over train and one over val one and one are left: 19 x is the bound.
What the head's own epochs cost, 3 ms a step, weighs the more the fewer images there are; HAM10000's are fourteen times
as many as here. The same numbers come out as when the slow way is shown the same views:
tests/unit/flows/test_finetune.py.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.feeding import noise
from benchmarks.measure import Result, ratios, summarise
from components.base.log import SilentLog
from components.models.backbones.efficientnet_lite0 import Config as EfficientNetLite0
from components.training.augment import Augment
from components.training.conditions import Conditions, Phase
from components.training.examples import Examples
from components.training.finetuning import finetune_encoder
from components.training.session import open_session

EPOCHS, SIZE = 20, 64
TRAIN, VAL = 512, 64
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
POLICY = Augment(flips_and_turns=True, scale=0.15, shift=0.05, brightness=0.1, contrast=0.1, hue=4, saturation=10)
CONDITIONS = Conditions(
    CLASSES, [Phase("frozen", EPOCHS, 1e-3)], batch_size=64, weight_decay=0.05, hidden=256, dropout=0.2,
    imbalance="weights", focal_gamma=2.0, monitor="loss", patience=EPOCHS, augment=POLICY,
)  # fmt: skip
COMMAND = "python -m benchmarks frozen"


def run() -> list[Result]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        train, val = (noise(Path(folder) / f"{count}", SIZE, CLASSES, count) for count in (TRAIN, VAL))
        values = ratios(*(training(train, val, views) for views in (0, None)), repeats=5)
    return [summarise("frozen_vs_full_passes", values, "at least 10", "x", COMMAND)]


def training(train: Examples, val: Examples, views: int | None) -> Callable[[], object]:
    backbone, conditions = EfficientNetLite0(), dataclasses.replace(CONDITIONS, views=views)
    session = open_session("cpu", 1, cpu=backbone.cpu, seed=0, checkpoint=None, log=SilentLog())
    torch.manual_seed(0)
    encoder = backbone.build()
    log = SilentLog()
    return lambda: finetune_encoder(encoder, train, val, conditions, session, log, {}, "benchmark")
