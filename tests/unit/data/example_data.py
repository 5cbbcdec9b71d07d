"""Small data sets of every adapter, written from the EXAMPLE of its file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components.base.families import load_member
from components.data.adapters import Adapter, ExampleData
from components.data.sources import read_bytes

FAMILY = "data.adapters"


def example_of(name: str) -> ExampleData:
    example: ExampleData = load_member(FAMILY, name).EXAMPLE
    return example


def write_example(name: str, root: Path, **settings: Any) -> Adapter:
    """The example of an adapter below `root`, and the adapter that reads it."""
    example = example_of(name)
    paint(root, *example.images)
    for path, text in example.texts.items():
        write(root, path, text)
    for path, arrays in example.arrays.items():
        np.savez_compressed(root / path, **arrays)
    return load_member(FAMILY, name).Config(path=root, **{**example.settings, **settings})


def paint(root: Path, *names: str) -> Path:
    """Small images, each of its own colour, in the format of its name."""
    root.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (20 * index, 40, 60)).save(root / name)
    return root


def write(root: Path, name: str, text: str) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    return root


def read_pixels_of(root: Path, path: str) -> np.ndarray:
    """(H, W, 3) uint8 of one image of a data set."""
    with Image.open(io.BytesIO(read_bytes(root, path))) as image:
        return np.asarray(image.convert("RGB"))
