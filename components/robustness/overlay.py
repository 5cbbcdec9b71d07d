"""Thin structures drawn over an image: hairs and ruler ticks, on a finer grid than the image's pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from components.synthetic.confounders import paint

Image = np.ndarray[Any, np.dtype[np.uint8]]

MIN_FINE_SIDE = 390
"""Pixels, at least, of the grid on which hairs and ticks are drawn: some are thinner than a packed pixel."""


def fine_side(side: int) -> int:
    """The smallest multiple of an image's side, in pixels, that is at least MIN_FINE_SIDE."""
    return side * -(-MIN_FINE_SIDE // side)


def overlay(image: Image, cover: Image, colour: tuple[int, int, int]) -> Image:
    """The image (S, S, 3) under a drawing in one colour.

    Args:
        image: uint8 RGB.
        cover: (F, F) uint8 with F = `fine_side(S)`, 255 where the drawing is opaque; averaged down to (S, S).
        colour: RGB in [0, 255].
    """
    side = image.shape[0]
    small = np.asarray(cv2.resize(cover, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(paint(image.astype(np.float32) / 255, small, colour) * 255 + 0.5, np.uint8)
