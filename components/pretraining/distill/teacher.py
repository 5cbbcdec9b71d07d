"""The teacher's features of all images, computed once, and standardised: what the student learns to predict.

N images, B batch, D the teacher's features, T those that are predicted, S the image's side in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.data.pixels import Pixels
from components.models.encoder import Encoder, embed, read_batches

LEAST_SPREAD = 1e-3
"""A feature whose standard deviation is a smaller share of the largest one's is left out: it says nothing of images."""


@dataclass(frozen=True)
class Standardisation:
    """Mean 0 and variance 1 of each feature over train images; silent features are left out."""

    kept: Tensor
    """(D,) bool, T of them True."""
    mean: Tensor
    """(T,) float32."""
    scale: Tensor
    """(T,) float32, standard deviations."""

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """From features of train images (N, D)."""
        spread, mean = torch.std_mean(features.double(), dim=0, correction=0)
        kept = spread > LEAST_SPREAD * spread.max()
        return cls(kept, mean[kept].float(), spread[kept].float())

    def __call__(self, features: Tensor) -> Tensor:
        """(B, D) to (B, T) float16: half the memory, and its rounding is far below what a student misses."""
        return ((features[:, self.kept] - self.mean) / self.scale).half()


def enlarge(batches: Iterator[Tensor], side: int) -> Iterator[Tensor]:
    """uint8 batches (B, 3, S, S) at another side by bilinear interpolation; as they are where S is that side."""
    for batch in batches:
        if batch.shape[-1] == side:
            yield batch
        else:
            other = functional.interpolate(batch.float(), size=(side, side), mode="bilinear", antialias=True)
            yield other.round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class TeacherNetwork:
    """A frozen encoder with the size of its images and the standardisation of its features."""

    encoder: Encoder
    side: int
    """Pixels to which images are enlarged."""
    standardise: Standardisation
    train_targets: Tensor
    """(N, T) float16, of the train images."""

    @classmethod
    def of(cls, encoder: Encoder, train: Pixels, side: int) -> Self:
        """With the features of all train images, computed in evaluation mode."""
        features = _embed(encoder.eval(), train, side)
        standardise = Standardisation.of(features)
        return cls(encoder, side, standardise, standardise(features))

    def targets(self, pixels: Pixels) -> Tensor:
        """(N, T) float16 of other images."""
        return self.standardise(_embed(self.encoder, pixels, self.side))


def _embed(encoder: Encoder, pixels: Pixels, side: int) -> Tensor:
    return embed(encoder, enlarge(read_batches(pixels.take, np.arange(len(pixels))), side))
