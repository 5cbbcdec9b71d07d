"""Packed images with their class indices, and a subset of the train images with the class counts of val."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from components.data.pixels import Pixels
from components.models.classifier import LOOK, Ints
from components.models.encoder import to_tensor


@dataclass(frozen=True)
class Examples:
    """Images with the classes that they are of."""

    pixels: Pixels
    labels: Ints  # (N,)

    def in_order(self) -> Iterator[Tensor]:
        """All images as they are, (B, 3, S, S) uint8."""
        rows = np.arange(len(self.labels))
        return (to_tensor(self.pixels.take(rows[start : start + LOOK])) for start in range(0, len(rows), LOOK))

    def sha256(self) -> str:
        """Hash of what the images are, and in which order."""
        return hashlib.sha256(self.pixels.index.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def alike(train: Examples, val: Examples, seed: int) -> Examples:
    """Train images of which each class has as many as in val, drawn once from `seed`: what a gap is measured on.

    Loss and accuracy depend on the mix of classes, balanced accuracy on which classes there are, and all of them
    spread more in the smaller sample: equal counts leave memorising as the only difference. Of a class with fewer
    train images than val images all are taken.
    """
    rows = matched_rows(train.labels, val.labels, seed)
    return Examples(train.pixels.rows(rows), train.labels[rows])


def matched_rows(train: Ints, val: Ints, seed: int) -> Ints:
    """Rows of train labels (N,) with as many of each class as val labels have, in order."""
    rng = np.random.default_rng([seed, 0x6A9])  # draws of its own
    wanted = np.bincount(val)
    rows = [np.flatnonzero(train == k) for k in range(len(wanted))]
    drawn = [rng.choice(own, min(count, len(own)), replace=False) for own, count in zip(rows, wanted, strict=True)]
    return np.sort(np.concatenate(drawn))
