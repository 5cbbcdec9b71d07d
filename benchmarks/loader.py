"""loader_vs_pil_64, loader_vs_pil_224, cache_vs_jpeg: batches from the packed cache, against JPEG files of 600x450.

loader_vs_pil: against the same augmentation by PIL and albumentations, file by file. cache_vs_jpeg: reading alone, in
random order, against decoding at the smallest scale of JPEG that is large enough (1/2 for 224 px); at 224 px, where a
cache gains least, and with files as large as the originals of HAM10000 (benchmarks/scan.py). `_light` has the drawn
images as they are, 77 kB each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
import pandas as pd
import simplejpeg
import torch
from PIL import Image

from benchmarks.measure import Result, ratios, summarise
from benchmarks.scan import add_noise
from benchmarks.trainings import AUGMENT, open_cpu_session
from components.data.pixels import Pixels, read_pixels, square, write_pixels
from components.models.backbones.efficientnet_lite0 import Config as EfficientNetLite0
from components.synthetic.dataset import draw_dataset
from components.training.augment import build_augmentation
from components.validation.image_facts import decode

COUNT, BATCH = 128, 64
SMALL, LARGE = 64, 224  # pixels, the sides of our presets
READS = 20  # readings of the cache while each file is decoded once: a single one is too short for the clock
COMMAND = "python -m benchmarks loader"


def run() -> list[Result]:
    open_cpu_session(EfficientNetLite0().cpu)  # sets torch's threads, as a training does
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        paths = draw(Path(temporary) / "drawn")
        small, large = (pack(Path(temporary) / f"packed-{size}", paths, size) for size in (SMALL, LARGE))
        light = versus_jpeg(large, paths)
        results = [
            summarise("loader_vs_pil_64", versus_pil(small, paths), "at least 8", "x", COMMAND),
            summarise("loader_vs_pil_224", versus_pil(large, paths), "at least 4", "x", COMMAND),
            summarise("cache_vs_jpeg_light", light, "none", "x", COMMAND),
        ]
        for seed, path in enumerate(paths):
            path.write_bytes(add_noise(path.read_bytes(), seed))
        results.append(summarise("cache_vs_jpeg", versus_jpeg(large, paths), "at least 100", "x", COMMAND))
        results.append(summarise("cache_vs_jpeg_64", versus_jpeg(small, paths), "none", "x", COMMAND))
    return results


def draw(folder: Path) -> list[Path]:
    """JPEGs of HAM10000's size."""
    draw_dataset(
        folder, lesions=COUNT, unlabelled=0, image_size=450, images_per_lesion=1.0, confounding=0.5,
        difficulty=0.5, seed=0,
    )  # fmt: skip
    return sorted(folder.rglob("*.jpg"))[:COUNT]


def pack(folder: Path, paths: list[Path], size: int) -> Pixels:
    names = [path.stem for path in paths]
    index = pd.DataFrame({"image_id": names, "label": "nv", "lesion_id": names, "group": names})
    write_pixels(folder, (square(decode(path.read_bytes())[1], size, "crop") for path in paths), index, size)
    return read_pixels(folder)


def batches() -> Iterator[tuple[int, np.ndarray[Any, np.dtype[np.int64]]]]:
    """Positions of the first images in an epoch's random order, and the batches' rows."""
    order = np.random.default_rng(0).permutation(COUNT)
    return ((first, order[first : first + BATCH]) for first in range(0, COUNT, BATCH))


def versus_pil(pixels: Pixels, paths: list[Path]) -> list[float]:
    augment, size = build_augmentation(AUGMENT, seed=0), pixels.size
    usual = albumentations.Compose(
        [
            albumentations.CenterCrop(450, 450), albumentations.Resize(size, size, interpolation=cv2.INTER_AREA),
            albumentations.D4(p=1), albumentations.Affine(scale=(0.85, 1.15), translate_percent=0.05, p=1),
            albumentations.RandomBrightnessContrast(0.1, 0.1, p=1),
            albumentations.HueSaturationValue(2, 10, 0, p=1),
        ]
    )  # fmt: skip

    def ours() -> None:
        for first, rows in batches():
            torch.from_numpy(augment(pixels.take(rows), 0, first)).permute(0, 3, 1, 2)

    def theirs() -> None:
        for path in paths:
            torch.from_numpy(usual(image=np.asarray(Image.open(path).convert("RGB")))["image"]).permute(2, 0, 1)

    return ratios(ours, theirs)


def versus_jpeg(pixels: Pixels, paths: list[Path]) -> list[float]:
    size = pixels.size

    def ours() -> None:
        for _ in range(READS):
            for _, rows in batches():
                pixels.take(rows)

    def theirs() -> None:
        for path in paths:
            simplejpeg.decode_jpeg(path.read_bytes(), min_height=size, min_width=size)

    return [READS * ratio for ratio in ratios(ours, theirs)]
