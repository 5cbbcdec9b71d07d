"""loader_vs_pil_64: augmented batches from the packed cache, against PIL and albumentations from 600x450 JPEG."""

from __future__ import annotations

import tempfile
from pathlib import Path

import albumentations
import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks.measure import Result, ratios, summarise
from components.augment import Augment, build
from components.phantom import draw_dataset
from components.pixels import read_pixels, square, write_pixels
from components.scan import decode

COUNT, SIZE = 128, 64
POLICY = Augment(flips_and_turns=True, scale=0.15, shift=0.05, brightness=0.1, contrast=0.1, hue=4, saturation=10)


def prepare(folder: Path) -> list[Path]:
    """JPEGs of HAM10000's size, and their packed cache."""
    draw_dataset(
        folder / "drawn", lesions=COUNT, unlabelled=0, image_size=450, images_per_lesion=1.0, confounding=0.5,
        difficulty=0.5, seed=0,
    )  # fmt: skip
    paths = sorted((folder / "drawn").rglob("*.jpg"))[:COUNT]
    names = [path.stem for path in paths]
    index = pd.DataFrame({"image_id": names, "label": "nv", "lesion_id": names, "group": names})
    write_pixels(folder / "packed", (square(decode(path.read_bytes())[1], SIZE, "crop") for path in paths), index, SIZE)
    return paths


def run() -> list[Result]:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = prepare(folder)
        pixels, augment = read_pixels(folder / "packed"), build(POLICY, seed=0)
        usual = albumentations.Compose(
            [
                albumentations.CenterCrop(450, 450), albumentations.Resize(SIZE, SIZE, interpolation=cv2.INTER_AREA),
                albumentations.D4(p=1), albumentations.Affine(scale=(0.85, 1.15), translate_percent=0.05, p=1),
                albumentations.RandomBrightnessContrast(0.1, 0.1, p=1),
                albumentations.HueSaturationValue(2, 10, 0, p=1),
            ]
        )  # fmt: skip

        def ours() -> None:
            for first in range(0, COUNT, 64):
                rows = np.arange(first, min(first + 64, COUNT))
                torch.from_numpy(augment(pixels.take(rows), 0, first)).permute(0, 3, 1, 2)

        def theirs() -> None:
            for path in paths:
                torch.from_numpy(usual(image=np.asarray(Image.open(path).convert("RGB")))["image"]).permute(2, 0, 1)

        values = ratios(ours, theirs)
    return [summarise("loader_vs_pil_64", values, "at least 8", "x", "python -m benchmarks loader")]
