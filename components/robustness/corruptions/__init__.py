"""Image corruptions as they occur in dermoscopy, one a file, each at five strengths of increasing severity.

The scheme is that of ImageNet-C (Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to common
corruptions and perturbations"): a model that never saw corrupted images in training is measured on them. Corruptions
and levels are ours, for dermoscopy at the packed resolution.

A file holds a docstring, `LEVELS` (five numbers), `MEANING` (what the numbers are, with their unit) and a function with
the file's name: `name(image, strength, random) -> image`, (S, S, 3) uint8 RGB in and out, strength 1 to 5.
`robustness.corruptions` (params.yaml) names the files that are used, so a new file changes no result until it is named.
tests/unit/robustness/test_corruption_contract.py checks every file.

The random numbers of an image depend on seed, corruption and image id only, not on batch, order or strength. So
strength 5 has the direction, noise or hairs of strength 1, only more of it, and all models see the same pictures.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from components.base.errors import SettingsError
from components.base.families import load_member

Image = np.ndarray[Any, np.dtype[np.uint8]]
"""(S, S, 3) RGB in [0, 255]; in `corrupt` (N, S, S, 3)."""

STRENGTHS = (1, 2, 3, 4, 5)
"""ImageNet-C calls them severities."""

GAMMA = 2.2
"""Pixel values are about light to the power of 1 / GAMMA, as in sRGB."""


@dataclass(frozen=True)
class Corruption:
    """One file of this package."""

    name: str
    levels: tuple[float, ...]  # by STRENGTHS
    meaning: str  # of the levels, with their unit
    apply: Callable[[Image, int, np.random.Generator], Image]


@cache
def load_corruption(name: str) -> Corruption:
    """The corruption of one file; no other file is imported.

    Raises:
        SettingsError: where the package has no such file.
    """
    module = load_member("robustness.corruptions", name)
    return Corruption(name, module.LEVELS, module.MEANING, getattr(module, name))


def corrupt(name: str, images: Image, strength: int, *, seed: int, ids: Sequence[str]) -> Image:
    """A copy of images (N, S, S, 3) with one corruption applied.

    Args:
        name: of the corruption's file.
        images: uint8 RGB.
        strength: one of STRENGTHS.
        seed: of all random numbers.
        ids: the N image ids; the same id gets the same random numbers in every call.

    Raises:
        SettingsError: for an unknown name or strength.
    """
    corruption = load_corruption(name)
    if strength not in STRENGTHS:
        raise SettingsError(f"strength {strength} of corruption {name}: expected one of {list(STRENGTHS)}")
    corrupted = np.empty_like(images)
    for row, (image, image_id) in enumerate(zip(images, ids, strict=True)):
        corrupted[row] = corruption.apply(image, strength, image_generator(seed, name, image_id))
    return corrupted


def image_generator(seed: int, name: str, image_id: str) -> np.random.Generator:
    """The random numbers of one image under one corruption."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), zlib.crc32(image_id.encode())])
