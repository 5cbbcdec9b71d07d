"""Confounders drawn on an image: hairs, ruler, vignette, gel and bubbles, frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Map: TypeAlias = NDArray[np.floating[Any]]  # (C, C) or (H, W), mostly in [0, 1]


Picture: TypeAlias = NDArray[np.floating[Any]]  # (H, W, 3) RGB in [0, 1]


Random: TypeAlias = np.random.Generator


# How often a confounder lies on an image of a class when confounding is 1; when it is 0, all have the mean.
CONFOUNDERS: dict[str, dict[str, float]] = {
    "hair": dict(akiec=0.0, bcc=0.0, bkl=0.8, df=0.0, mel=0.0, nv=0.8, vasc=0.0),
    "ruler": dict(akiec=0.0, bcc=0.4, bkl=0.0, df=0.0, mel=0.8, nv=0.0, vasc=0.0),
    "vignette": dict(akiec=0.0, bcc=0.0, bkl=0.0, df=0.8, mel=0.6, nv=0.0, vasc=0.8),
    "gel": dict(akiec=0.8, bcc=0.6, bkl=0.0, df=0.0, mel=0.0, nv=0.0, vasc=0.6),
}


HAIRS = ((40, 28, 24), (72, 48, 34), (150, 112, 76))  # RGB in [0, 255]


RULER = (30, 34, 52)  # RGB in [0, 255]


def _step(values: Map) -> Map:
    """A soft step from 0 to 1 around 0, two units wide."""
    clipped = np.clip(values * 0.5 + 0.5, 0, 1)
    stepped: Map = clipped * clipped * (3 - 2 * clipped)
    return stepped


def _frame(picture: Picture) -> tuple[Map, Map]:
    """Coordinates of a picture's pixels in half shorter sides, 0 in the middle: across, down."""
    height, width = picture.shape[:2]
    half = min(height, width) / 2
    down, across = np.ogrid[:height, :width]
    return ((across - (width - 1) / 2) / half).astype(np.float32), ((down - (height - 1) / 2) / half).astype(np.float32)


def _hair(picture: Picture, random: Random) -> Picture:
    """Dark or fair hairs, curved, mostly in one direction."""
    height, width = picture.shape[:2]
    main = random.uniform(0, np.pi)
    found = lay_hairs(height, width, main, int(random.integers(5, 16)), random)
    return paint(picture, found, HAIRS[random.integers(len(HAIRS))])


def lay_hairs(height: int, width: int, main: float, count: int, random: Random) -> NDArray[np.uint8]:
    """Share of cover in [0, 255] by `count` hairs, (H, W), most of them near the direction `main` (radians).

    A hair is 1/220 to 1/80 of the height thick, so more than one pixel is needed for truth below 130 of them.
    """
    found = np.zeros((height, width), np.uint8)
    for _ in range(count):
        angle = main + random.normal(0, 0.35)
        along, bow = np.array([np.cos(angle), np.sin(angle)]), random.normal(0, 0.15)
        middle = random.uniform(0, 1, 2) * (width, height)
        reach = np.linspace(-1, 1, 9)[:, None] * random.uniform(0.25, 0.8) * height
        curve = middle + reach * along + bow * reach**2 / height * along[::-1] * (1, -1)
        thick = max(1, round(height / 130 * random.uniform(0.6, 1.6)))
        line = np.rint(curve * 16).astype(np.int32)
        cv2.polylines(found, [line], False, int(random.integers(140, 256)), thick, cv2.LINE_AA, 4)
    return found


def _ruler(picture: Picture, random: Random) -> Picture:
    """A scale along the upper or lower edge, which a centre crop keeps: ticks, every fifth longer."""
    height, width = picture.shape[:2]
    top = random.random() < 0.5
    found = lay_ruler(height, width, bool(top), random.uniform(0.05, 0.075), random.random())
    return paint(picture, found, RULER)


def lay_ruler(
    height: int, width: int, top: bool, pitch: float, phase: float, length: float = 0.13
) -> NDArray[np.uint8]:
    """Share of cover in [0, 255] by a scale along one edge, (H, W).

    `pitch` between ticks and `length` of each fifth are shares of the height, `phase` of a pitch.
    """
    base, inward = (round(0.02 * height), 1) if top else (height - 1 - round(0.02 * height), -1)
    pitch = height * pitch
    found = np.zeros((height, width), np.uint8)
    for number in range(int(width / pitch) + 1):
        x = round((number + phase) * pitch)
        tick = inward * round(height * (length if number % 5 == 0 else 0.07 / 0.13 * length))
        cv2.line(found, (x, base), (x, base + tick), 230, max(1, height // 120), cv2.LINE_AA)
    return found


def paint(picture: Picture, found: NDArray[np.uint8], colour: tuple[int, int, int]) -> Picture:
    """The picture under paint: RGB colour in [0, 255], share of cover in [0, 255]."""
    share = found[..., None].astype(np.float32) / 255
    return picture + share * (np.array(colour, np.float32) / 255 - picture)


def _vignette(picture: Picture, random: Random) -> Picture:
    """The dark surround of a dermatoscope's tube."""
    across, down = _frame(picture)
    x, y = random.normal(0, 0.06, 2).astype(np.float32)
    far = np.hypot(across - x, down - y)
    edge, soft = random.uniform(1.02, 1.25), random.uniform(0.03, 0.12)
    return picture * (1 - 0.95 * _step((far - edge) / soft))[..., None]


def _gel(picture: Picture, random: Random) -> Picture:
    """Bubbles in the immersion gel: a bright rim, a pale inside, a glint."""
    height, width = picture.shape[:2]
    for _ in range(random.integers(3, 10)):
        x, y = random.random() * width, random.random() * height
        size = random.uniform(0.025, 0.085) * height
        top, left = max(0, int(y - 1.8 * size)), max(0, int(x - 1.8 * size))
        part = picture[top : int(y + 1.8 * size) + 1, left : int(x + 1.8 * size) + 1]
        down, across = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
        light, shade = _bubble(((across - x) / size).astype(np.float32), ((down - y) / size).astype(np.float32))
        part *= (1 - shade)[..., None]
        part += light[..., None] * (1 - part)
    return picture


def _bubble(across: Map, down: Map) -> tuple[Map, Map]:
    """Light and shade of a bubble of radius 1 in the middle."""
    far, glint = np.hypot(across, down), np.hypot(across + 0.4, down + 0.4) / 0.3
    light = 0.45 * np.exp(-(((far - 1) / 0.16) ** 2)) + 0.12 * _step((1 - far) / 0.1) + 0.6 * np.exp(-(glint**2))
    return np.clip(light, 0, 0.95), 0.25 * np.exp(-(((far - 1.25) / 0.12) ** 2))


DRAWINGS: dict[str, Callable[[Picture, Random], Picture]] = {
    "hair": _hair,
    "gel": _gel,
    "ruler": _ruler,
    "vignette": _vignette,  # last: the tube darkens whatever lies on the skin
}
