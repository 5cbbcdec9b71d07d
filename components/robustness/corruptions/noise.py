"""Sensor noise in too little light: independent Gaussian noise on every pixel."""

from __future__ import annotations

import numpy as np

from components.robustness.corruptions import Image

LEVELS = (0.015, 0.03, 0.05, 0.08, 0.12)
MEANING = (
    "standard deviation of Gaussian noise on each channel of each packed pixel, as a share of full scale: from a good "
    "camera indoors to a phone in the dark; CIFAR-10-C, with pictures of 32 pixels, has 0.04 to 0.1 "
    "(Hendrycks & Dietterich 2019)"
)


def noise(image: Image, strength: int, random: np.random.Generator) -> Image:
    """The image plus independent noise, clipped at black and white."""
    grain = random.standard_normal(image.shape, dtype=np.float32) * np.float32(255 * LEVELS[strength - 1])
    return np.asarray(np.clip(image + grain + 0.5, 0, 255), np.uint8)
