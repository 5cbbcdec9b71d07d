"""Low contrast, as from a smeared contact plate: all pixels move towards the mean colour of the image."""

from __future__ import annotations

import numpy as np

from components.robustness.corruptions import Image

LEVELS = (0.85, 0.7, 0.55, 0.4, 0.25)
MEANING = "share of each pixel's distance from the image's mean colour that is left"


def low_contrast(image: Image, strength: int, random: np.random.Generator) -> Image:
    """The same shift for every pixel; nothing is drawn at random."""
    mean = image.mean(axis=(0, 1), dtype=np.float32)  # (3,)
    return np.asarray(mean + LEVELS[strength - 1] * (image - mean) + 0.5, np.uint8)
