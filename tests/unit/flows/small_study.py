"""A small study after the stage `pack`: params.yaml and packed images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from components.data.pixels import write_pixels

SIDE = 32
CLASSES = ("benign", "malignant", "vascular")
REPO = Path(__file__).resolve().parents[3]
VAE = {"kind": "vae", "epochs": 1, "batch_size": 6, "latent_dim": 4, "components": 4, "side": 8, "warmup_epochs": 1,
       "learning_rate": 0.001, "weight_decay": 0.0, "noise_variance": 0.05, "beta": 0.3, "free_nats": 0.0}  # fmt: skip


def build(root: Path, count: int = 21, **finetune: Any) -> Path:
    """Write `count` train images of three classes, and the demo's settings with a small backbone; returns `root`."""
    values = YAML(typ="safe").load((REPO / "params.yaml").read_text())
    values["labels"] = {"scheme": "three", "schemes": {"three": {name: [name] for name in CLASSES}}}
    values["backbone"] = {"kind": "timm", "name": "test_efficientnet"}
    values["pretrain"]["arms"] = {"vae": VAE, "random": {"kind": "random"}}
    values["study"] |= {"arms": ["vae", "random"], "reference": "random", "protocols": ["frozen", "full"]}
    values["finetune"] |= {"batch_size": 8, "head": {"hidden": 8, "dropout": 0.2}} | finetune
    values["compute"] |= {"device": "cpu"}
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(values, file)
    write_split(root / values["paths"]["pixels"] / "train", count)
    return root


def write_split(folder: Path, count: int) -> None:
    """Write smooth images without symmetry, all different, with classes in turn."""
    ramp = np.linspace(0, 1, SIDE)
    numbers = np.arange(count)[:, None, None]
    red = 60 + 120 * ramp[:, None] + numbers % 7 + 0 * ramp
    green = 90 + 80 * ramp[None, :] ** 2 + numbers + 0 * ramp[:, None]
    blue = 40 + 60 * ramp[:, None] * ramp + 25 * (numbers % len(CLASSES))
    images = np.stack(np.broadcast_arrays(red, green, blue), axis=-1).clip(0, 255).astype(np.uint8)
    names = [f"image_{row:03d}" for row in range(count)]
    labels = [CLASSES[row % len(CLASSES)] for row in range(count)]
    columns = {"image_id": names, "label": labels, "lesion_id": names, "group": names}
    write_pixels(folder, images, pd.DataFrame(columns), SIDE)
