"""Defocus: the lens is not pressed flat on the skin, or the hand moves."""

from __future__ import annotations

import cv2
import numpy as np

from components.robustness.corruptions import Image

LEVELS = (0.008, 0.014, 0.022, 0.033, 0.048)
MEANING = (
    "standard deviation of a Gaussian blur, as a share of the picture's side; where the picture shows 15 mm of skin, "
    "0.12 to 0.7 mm: from lost vessels and dots to a lost pigment network"
)


def blur(image: Image, strength: int, random: np.random.Generator) -> Image:
    """The image convolved with a Gaussian, which approximates the disc of a lens out of focus."""
    sigma = LEVELS[strength - 1] * image.shape[0]  # pixels
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.uint8)
