"""Small images and a small network with which a pretraining takes seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from components.base.config import kinds
from components.base.log import SilentLog
from components.data.pixels import write_pixels
from components.models.backbone import Backbone
from components.models.encoder import Encoder
from tests.unit.training.small_settings import cpu_session

Timm, Lite = kinds("models.backbones")["timm"], kinds("models.backbones")["efficientnet_lite0"]
BACKBONE = Timm(name="test_efficientnet")
SIDE = 32
SESSION = cpu_session()


def write_discs(folder: Path, count: int, seed: int, *, labelled: bool = True) -> None:
    """Dark discs on skin, packed: images to learn from; the darker half are melanomas."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    images = np.empty((count, SIDE, SIDE, 3), dtype=np.uint8)
    drawn = rng.uniform(0.3, 0.7, (count, 3))
    for image, (row, column, dark) in zip(images, drawn, strict=True):
        image[:] = np.array([210, 160, 140])
        image[(y - row) ** 2 + (x - column) ** 2 < 0.05] = np.array([120, 80, 60]) * dark
    ids = [f"{folder.name}{i}" for i in range(count)]
    labels = np.where(drawn[:, 2] < np.median(drawn[:, 2]), "mel", "nv") if labelled else ""
    index = pd.DataFrame({"image_id": ids, "label": labels, "lesion_id": ids, "group": ids})
    write_pixels(folder, images, index, SIDE)


def write_splits(folder: Path) -> Path:
    """Train, unlabelled and val images below `folder`."""
    for seed, (name, count) in enumerate({"train": 20, "unlabelled": 6, "val": 9}.items()):
        write_discs(folder / name, count, seed, labelled=name != "unlabelled")
    return folder


def draw_encoder(backbone: Backbone = BACKBONE, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return backbone.build()


class PowerCutError(Exception):
    """What `InterruptedLog` raises."""


class InterruptedLog(SilentLog):
    """Stops a training at the beginning of its second epoch."""

    def track(self, items, total, what):
        if "epoch 2" in what:
            raise PowerCutError
        return super().track(items, total, what)
