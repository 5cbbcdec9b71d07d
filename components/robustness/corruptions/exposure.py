"""Wrong exposure: too dark or too bright, from wrong light or shutter time."""

from __future__ import annotations

import numpy as np

from components.robustness.corruptions import GAMMA, Image

LEVELS = (0.25, 0.5, 0.8, 1.2, 1.7)
MEANING = (
    "stops (one is twice or half the light), too bright in half of the images, too dark in the others; values above "
    "white are clipped"
)


def exposure(image: Image, strength: int, random: np.random.Generator) -> Image:
    """All light multiplied by one factor, clipped at white."""
    sign = 1 if random.random() < 0.5 else -1
    factor = np.float32(2 ** (sign * LEVELS[strength - 1] / GAMMA))
    return np.asarray(np.clip(image * factor + 0.5, 0, 255), np.uint8)
