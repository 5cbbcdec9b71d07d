"""Packed images with their class indices, and the train images that the overfitting gap is measured on.

N images, K classes, S the image's side in pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from components.base.errors import TrainingError
from components.data.pixels import Pixels
from components.models.encoder import Ints, read_batches

STREAM = 0x6A9
"""Keeps the draw of matched train images apart from other random numbers of the same seed."""


@dataclass(frozen=True)
class Examples:
    """Images with their class indices."""

    pixels: Pixels
    labels: Ints  # (N,)

    def in_order(self) -> Iterator[Tensor]:
        """All images without augmentation, in batches (B, 3, S, S) uint8."""
        return read_batches(self.pixels.take, np.arange(len(self.labels)))

    def sha256(self) -> str:
        """Hash of the images' index: which images there are, and in which order."""
        return hashlib.sha256(self.pixels.index.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def read_examples(pixels: Pixels, classes: Sequence[str], split: str) -> Examples:
    """The images of a split with their classes.

    Raises:
        TrainingError: where they are of fewer than two classes.
    """
    labels = pixels.labels(classes)
    names = [classes[k] for k in np.unique(labels)]
    if len(names) < 2:
        raise TrainingError(
            f"{split} has {len(labels)} images of classes {names}, expected at least two classes: "
            f"fix labels.scheme or split (params.yaml)"
        )
    return Examples(pixels, labels)


def match_classes(train: Examples, val: Examples, seed: int) -> Examples:
    """Train images with the class counts of val, drawn once from `seed`; the overfitting gap is measured on them.

    Loss and accuracy depend on the class frequencies, balanced accuracy on which classes there are, and all of them
    vary more in a smaller sample. With equal counts, memorized train images are the only cause of a gap. Where a
    class has fewer train images than val images, all its train images are taken.
    """
    rows = matched_rows(train.labels, val.labels, seed)
    return Examples(train.pixels.rows(rows), train.labels[rows])


def matched_rows(train: Ints, val: Ints, seed: int) -> Ints:
    """Rows of train labels (N,) with as many of each class as val labels have, in rising order."""
    rng = np.random.default_rng([seed, STREAM])
    wanted = np.bincount(val)
    rows = [np.flatnonzero(train == k) for k in range(len(wanted))]
    drawn = [rng.choice(own, min(count, len(own)), replace=False) for own, count in zip(rows, wanted, strict=True)]
    return np.sort(np.concatenate(drawn))
