"""Images without their labels: batches of an epoch, the images that are measured, and what a resume state compares."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
from pydantic_core import to_jsonable_python
from torch import Tensor

from components.data.pixels import Pixels
from components.models.backbone import Backbone
from components.models.encoder import Ints, read_batches, to_tensor
from components.training.batches import EpochBatches, shuffled_batches

MOST_MEASURED = 2000
"""Validation images at most that are measured after each epoch, and as many train images."""


def draw_epoch(pixels: Pixels, size: int, seed: int, epoch: int) -> EpochBatches:
    """One epoch's images in a new order, (B, 3, S, S) uint8."""
    return EpochBatches(
        shuffled_batches(len(pixels), size, seed, epoch),
        draw=lambda _step, rows, _first: to_tensor(pixels.take(rows)),
        names=lambda rows: pixels.index["image_id"].iloc[rows].tolist(),
    )


def spread_evenly(pixels: Pixels, count: int) -> Iterator[Tensor]:
    """`count` images at equal distances in the table, or all where there are fewer, (B, 3, S, S) uint8."""
    return read_batches(pixels.take, even_rows(len(pixels), count))


def even_rows(length: int, count: int) -> Ints:
    """`count` of the row numbers 0 to `length` - 1 at equal distances, or all where there are fewer."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(np.int64)


def describe_conditions(method: Mapping[str, object], backbone: Backbone, train: Pixels) -> dict[str, object]:
    """Everything that the result depends on; a resume state made under other conditions is refused.

    Args:
        method: the method's settings as plain values.
        backbone: of the settings.
        train: the images that are learned from; their identity and content count.
    """
    images = train.index[["image_id", "crc32"]].to_csv(index=False, lineterminator="\n")
    return {
        "pretrain": method,
        "backbone": to_jsonable_python(backbone),
        "pack.image_size": train.size,
        "images": hashlib.sha256(images.encode()).hexdigest(),
    }
