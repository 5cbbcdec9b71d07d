"""A 64-bit image hash, robust to rescaling, recompression and brightness; the hash of a turned image needs no pixels.

Its bits are the signs of 64 low frequencies of the image's cosine transform. Brightness changes only the constant
term, which is left out; contrast changes no sign. Mirroring an image multiplies the coefficient of (v, u) cycles by
(-1)^u, flipping it by (-1)^v, transposing it swaps u and v: so the hash of a turned image is the hash with its bits
swapped and some of them inverted. (Signs of DCT coefficients: Arnia et al. 2009, "Noncontact image identification".)
"""

from __future__ import annotations

from itertools import product
from typing import Any

import cv2
import numpy as np

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Hashes = np.ndarray[Any, np.dtype[np.uint64]]

SIDE = 64  # pixels of the transformed square; the aspect ratio is not kept, so that a turn swaps the axes
CYCLES = 11  # half cycles 0 to 10 along each axis

# The 64 (v, u) with 1 <= v + u <= 10, without (5, 5). Bit i + 30 is bit i transposed, bits 60 to 63 are diagonal.
_ABOVE = [(total - u, u) for total in range(1, CYCLES) for u in range(total + 1) if total - u < u]
PLACES = np.array([*_ABOVE, *((u, v) for v, u in _ABOVE), *((u, u) for u in range(1, 5))])  # (64, 2): v, u
_LOWER = np.uint64(2**30 - 1)
_DIAGONAL = np.uint64(0xF << 60)

# Whether the axes are swapped first, then mirrored (left-right), then flipped (upside down).
_STEPS = {
    "identity": (False, False, False),
    "rot90": (True, False, True),  # counterclockwise, as numpy.rot90
    "rot180": (False, True, True),
    "rot270": (True, True, False),
    "mirror": (False, True, False),
    "flip": (False, False, True),
    "transpose": (True, False, False),
    "transverse": (True, True, True),
}
TURNS = tuple(_STEPS)


def _cosines() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Row k is the k-th half cycle of a DCT-II over SIDE samples: (CYCLES, SIDE)."""
    k, x = np.arange(CYCLES)[:, None], np.arange(SIDE)[None]
    return np.cos(np.pi * k * (2 * x + 1) / (2 * SIDE)).astype(np.float32)


_COSINES = _cosines()

# Windows that stand for every crop of up to 10 % a side: each side's cut is within 2.5 % of one of these.
CUTS = (0.025, 0.075)  # of the side
WINDOWS = tuple((top, bottom, left, right) for top, bottom, left, right in product(CUTS, repeat=4))


def _window_cosines() -> np.ndarray[Any, np.dtype[np.float32]]:
    """The cosines over the part of an axis that remains after each pair of cuts: (4 * CYCLES, SIDE), concatenated."""
    fine = (np.arange(SIDE * 16) + 0.5) / (SIDE * 16)  # 16 points a pixel, since cuts fall inside pixels
    rows = []
    for before, after in product(CUTS, repeat=2):
        inner = (fine - before) / (1 - before - after)
        waves = np.cos(np.pi * np.arange(CYCLES)[:, None] * inner) * ((inner > 0) & (inner < 1))
        rows.append(waves.reshape(CYCLES, SIDE, 16).mean(axis=2))
    return np.concatenate(rows).astype(np.float32)


_WINDOW_COSINES = _window_cosines()


def phash(luma: Pixels) -> int:
    """The hash, in [0, 2**64), of upright luma (H, W) or (H, W, 1) of any size; a constant image's is 0.

    An image without structure has the hash of its noise, so near hashes must be confirmed on pixels.
    """
    waves = _COSINES @ _shrink(luma) @ _COSINES.T  # (CYCLES, CYCLES)
    return int(_signs(waves[None])[0])


def crop_hashes(luma: Pixels) -> Hashes:
    """The hashes of the sixteen WINDOWS of one image, (16,): within a few bits of that of any crop of up to 10 %."""
    waves = _WINDOW_COSINES @ _shrink(luma) @ _WINDOW_COSINES.T
    waves = waves.reshape(4, CYCLES, 4, CYCLES).swapaxes(1, 2)  # rows' window, columns' window, v, u
    return _signs(waves.reshape(16, CYCLES, CYCLES))


def _shrink(luma: Pixels) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(SIDE, SIDE) with mean 0; a power of two of integers has an exact mean, so a constant image becomes exactly 0."""
    small = cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(small - small.mean())


def _signs(waves: np.ndarray[Any, np.dtype[np.float32]]) -> Hashes:
    """(N, CYCLES, CYCLES) to (N,): bit i is 1 where the coefficient at PLACES[i] is above 0."""
    bits = waves[:, PLACES[:, 0], PLACES[:, 1]] > 0
    packed = np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little"))  # (N, 8) bytes
    return packed.view("<u8")[:, 0].astype(np.uint64)


def turned(hashes: Hashes, turn: str) -> Hashes:
    """The hashes (N,) of the same images after `turn`, one of TURNS."""
    swapped, mirrored, flipped = _STEPS[turn]
    if swapped:
        up, down = (hashes & _LOWER) << np.uint64(30), (hashes >> np.uint64(30)) & _LOWER
        hashes = up | down | (hashes & _DIAGONAL)
    odd = (mirrored * PLACES[:, 1] + flipped * PLACES[:, 0]) % 2 == 1
    return np.asarray(hashes ^ np.packbits(odd, bitorder="little").view("<u8")[0])


def turn_pixels(image: Pixels, turn: str) -> Pixels:
    """(H, W) or (H, W, C) after `turn`; a view of the same memory."""
    swapped, mirrored, flipped = _STEPS[turn]
    image = image.swapaxes(0, 1) if swapped else image
    return image[:: -1 if flipped else 1, :: -1 if mirrored else 1]
