"""Damage as it happens at the dermatoscope, one kind a file, each at five strengths of which each is the worse.

The scheme is that of Hendrycks & Dietterich (2019, "Benchmarking neural network robustness to common corruptions and
perturbations"): a model that never learned from damaged images is measured on them. The kinds and levels are ours, for
dermoscopy at the packed resolution. A file has `LEVELS` (five numbers), `MEANING` (what they are, in words) and a
function named as the file: `name(image: (S, S, 3) uint8 RGB, strength: 1..5, random) -> (S, S, 3) uint8`.

An image's draws depend on seed, kind and its own name: no batch, order or strength changes them. So strength 5 has the
same direction, noise or hairs as strength 1, only more, and all models see the very same pictures.
"""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from components.base.errors import SettingsError
from components.synthetic.confounders import paint

Image = np.ndarray[Any, np.dtype[np.uint8]]
"""(S, S, 3) RGB in [0, 255]; in `corrupt` (N, S, S, 3)."""

STRENGTHS = (1, 2, 3, 4, 5)

FINE = 390
"""Pixels on which hairs and ticks are drawn at least before they are made as small as the image: thinner than its."""


@dataclass(frozen=True)
class Corruption:
    """One kind of damage."""

    name: str
    levels: tuple[float, ...]  # of STRENGTHS
    meaning: str  # of the levels
    apply: Callable[[Image, int, np.random.Generator], Image]


@cache
def corruptions() -> dict[str, Corruption]:
    """Every kind by name: the modules of this package."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {
        name: Corruption(name, module.LEVELS, module.MEANING, getattr(module, name)) for name, module in modules.items()
    }


def corrupt(name: str, images: Image, strength: int, seed: int, ids: Sequence[str]) -> Image:
    """All images (N, S, S, 3) with one kind of damage; `ids` are the N names by which draws are found again."""
    kinds = corruptions()
    if name not in kinds:
        raise SettingsError(f"corruption {name!r} is none of {list(kinds)}: files of components/robustness/corruptions")
    if strength not in STRENGTHS:
        raise SettingsError(f"strength {strength} of corruption {name}: expected one of {list(STRENGTHS)}")
    found = np.empty_like(images)
    for row, (image, own) in enumerate(zip(images, ids, strict=True)):
        found[row] = kinds[name].apply(image, strength, draws(seed, name, own))
    return found


def draws(seed: int, name: str, image_id: str) -> np.random.Generator:
    """The random numbers of one image under one kind of damage."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), zlib.crc32(image_id.encode())])


def finer(side: int) -> int:
    """The least multiple of an image's side, in pixels, that is as fine as FINE."""
    return side * -(-FINE // side)


def lay_on(image: Image, cover: np.ndarray[Any, np.dtype[np.uint8]], colour: tuple[int, int, int]) -> Image:
    """The image under what was drawn, (F, F) uint8 of `finer` pixels, in one colour."""
    side = image.shape[0]
    small = np.asarray(cv2.resize(cover, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(paint(image.astype(np.float32) / 255, small, colour) * 255 + 0.5, np.uint8)
