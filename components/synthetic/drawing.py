"""What all drawings share: array types, random streams, soft steps, pixel coordinates.

Legend: C side of the square canvas on which a lesion is drawn, H and W height and width of a picture, all in pixels.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Map: TypeAlias = NDArray[np.floating[Any]]  # (C, C) or (H, W), mostly in [0, 1]
Picture: TypeAlias = NDArray[np.floating[Any]]  # (H, W, 3) RGB in [0, 1]
Random: TypeAlias = np.random.Generator


def stream(seed: int, *key: int) -> Random:
    """The random numbers of one thing, independent of how many other things there are.

    Args:
        seed: of the whole data set.
        key: which thing it is; another key gives an independent stream (numpy's `SeedSequence.spawn_key`).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def soft_step(values: Map) -> Map:
    """A smooth step from 0 to 1 (3 t^2 - 2 t^3) centred at 0 and two units wide, element by element."""
    clipped = np.clip(values * 0.5 + 0.5, 0, 1)
    stepped: Map = clipped * clipped * (3 - 2 * clipped)
    return stepped


def pixel_coordinates(picture: Picture) -> tuple[Map, Map]:
    """Horizontal (1, W) and vertical (H, 1) positions of a picture's pixels.

    0 is the centre; the unit is half of the shorter side.
    """
    height, width = picture.shape[:2]
    half = min(height, width) / 2
    down, across = np.ogrid[:height, :width]
    return ((across - (width - 1) / 2) / half).astype(np.float32), ((down - (height - 1) / 2) / half).astype(np.float32)


def random_direction(random: Random) -> NDArray[np.float32]:
    """A unit vector (2,) in a random direction: horizontal, vertical."""
    angle = random.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)], np.float32)
