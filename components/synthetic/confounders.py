"""Confounders drawn on a picture: hair, ruler, vignette of the dermatoscope's tube, gel with bubbles.

None of them says anything about the diagnosis. How often each lies on the images of a class is set by CONFOUNDERS, so
that a data set can be drawn in which a confounder predicts the class.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from components.synthetic.drawing import Map, Picture, Random, pixel_coordinates, soft_step

CONFOUNDERS: dict[str, dict[str, float]] = {
    "hair": dict(akiec=0.0, bcc=0.0, bkl=0.8, df=0.0, mel=0.0, nv=0.8, vasc=0.0),
    "ruler": dict(akiec=0.0, bcc=0.4, bkl=0.0, df=0.0, mel=0.8, nv=0.0, vasc=0.0),
    "vignette": dict(akiec=0.0, bcc=0.0, bkl=0.0, df=0.8, mel=0.6, nv=0.0, vasc=0.8),
    "gel": dict(akiec=0.8, bcc=0.6, bkl=0.0, df=0.0, mel=0.0, nv=0.0, vasc=0.6),
}
"""Confounder -> class -> share of its images that show the confounder when confounding is 1; when it is 0, all classes
have the mean."""

HAIR_COLOURS = ((40, 28, 24), (72, 48, 34), (150, 112, 76))  # RGB in [0, 255]
RULER_COLOUR = (30, 34, 52)  # RGB in [0, 255]


def _hair(picture: Picture, random: Random) -> Picture:
    """Dark or fair hairs, curved, mostly in one direction."""
    height, width = picture.shape[:2]
    main = random.uniform(0, np.pi)
    cover = hair_cover(height, width, main, int(random.integers(5, 16)), random)
    return paint(picture, cover, HAIR_COLOURS[random.integers(len(HAIR_COLOURS))])


def hair_cover(height: int, width: int, main: float, count: int, random: Random) -> NDArray[np.uint8]:
    """How much of each pixel hairs cover, (H, W) in [0, 255].

    Args:
        height: of the picture, pixels. A hair is 1/220 to 1/80 of it thick, and at least one pixel: below 130 pixels
            hairs are drawn too thick.
        width: of the picture, pixels.
        main: direction near which most hairs lie, radians.
        count: number of hairs.
        random: source of their shapes. The first hairs are the same for every count.
    """
    cover = np.zeros((height, width), np.uint8)
    for _ in range(count):
        angle = main + random.normal(0, 0.35)
        along, bow = np.array([np.cos(angle), np.sin(angle)]), random.normal(0, 0.15)
        middle = random.uniform(0, 1, 2) * (width, height)
        reach = np.linspace(-1, 1, 9)[:, None] * random.uniform(0.25, 0.8) * height
        curve = middle + reach * along + bow * reach**2 / height * along[::-1] * (1, -1)
        thick = max(1, round(height / 130 * random.uniform(0.6, 1.6)))
        line = np.rint(curve * 16).astype(np.int32)
        cv2.polylines(cover, [line], False, int(random.integers(140, 256)), thick, cv2.LINE_AA, 4)
    return cover


def _ruler(picture: Picture, random: Random) -> Picture:
    """A scale along the upper or lower edge, so that a centre crop keeps it: ticks, every fifth one longer."""
    height, width = picture.shape[:2]
    top = random.random() < 0.5
    cover = ruler_cover(height, width, bool(top), random.uniform(0.05, 0.075), random.random())
    return paint(picture, cover, RULER_COLOUR)


def ruler_cover(
    height: int, width: int, top: bool, pitch: float, phase: float, length: float = 0.13
) -> NDArray[np.uint8]:
    """How much of each pixel a scale along one edge covers, (H, W) in [0, 255].

    Args:
        height: of the picture, pixels.
        width: of the picture, pixels.
        top: along the upper edge; otherwise along the lower one.
        pitch: distance between ticks, share of the height.
        phase: position of the first tick, share of the pitch.
        length: of each fifth tick, share of the height; the others are about half as long.
    """
    base, inward = (round(0.02 * height), 1) if top else (height - 1 - round(0.02 * height), -1)
    pitch = height * pitch
    cover = np.zeros((height, width), np.uint8)
    for number in range(int(width / pitch) + 1):
        x = round((number + phase) * pitch)
        tick = inward * round(height * (length if number % 5 == 0 else 0.07 / 0.13 * length))
        cv2.line(cover, (x, base), (x, base + tick), 230, max(1, height // 120), cv2.LINE_AA)
    return cover


def paint(picture: Picture, cover: NDArray[np.uint8], colour: tuple[int, int, int]) -> Picture:
    """The picture (H, W, 3) with a colour (RGB in [0, 255]) laid over it by `cover`, (H, W) in [0, 255]."""
    share = cover[..., None].astype(np.float32) / 255
    return picture + share * (np.array(colour, np.float32) / 255 - picture)


def _vignette(picture: Picture, random: Random) -> Picture:
    """The dark surround that a dermatoscope's tube leaves."""
    across, down = pixel_coordinates(picture)
    x, y = random.normal(0, 0.06, 2).astype(np.float32)
    far = np.hypot(across - x, down - y)
    edge, soft = random.uniform(1.02, 1.25), random.uniform(0.03, 0.12)
    return picture * (1 - 0.95 * soft_step((far - edge) / soft))[..., None]


def _gel(picture: Picture, random: Random) -> Picture:
    """Bubbles in the immersion gel: a bright rim, a pale inside and a small highlight. Changes the picture in place."""
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
    """Light and shade of a bubble of radius 1 around the origin."""
    far, glint = np.hypot(across, down), np.hypot(across + 0.4, down + 0.4) / 0.3
    light = 0.45 * np.exp(-(((far - 1) / 0.16) ** 2)) + 0.12 * soft_step((1 - far) / 0.1) + 0.6 * np.exp(-(glint**2))
    return np.clip(light, 0, 0.95), 0.25 * np.exp(-(((far - 1.25) / 0.12) ** 2))


DRAWINGS: dict[str, Callable[[Picture, Random], Picture]] = {
    "hair": _hair,
    "gel": _gel,
    "ruler": _ruler,
    "vignette": _vignette,  # last: the tube darkens everything on the skin
}
"""Confounder -> the function that draws it; in the order of drawing, which also fixes the random stream of each."""
