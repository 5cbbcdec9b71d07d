"""Colour cast: the light has another colour temperature than the camera's white balance, too yellow or too blue."""

from __future__ import annotations

import numpy as np

from components.robustness.corruptions import GAMMA, Image

LEVELS = (15.0, 30.0, 50.0, 80.0, 120.0)
MEANING = (
    "shift of the light's colour temperature in mired (a million divided by kelvin), warmer in half of the images, "
    "cooler in the others: for a camera set to 5,500 K, 15 is light of 6,000 K, 120 that of a halogen lamp (3,300 K)"
)

WAVELENGTHS = np.array([600e-9, 550e-9, 450e-9])
"""Of red, green and blue, metres."""

RADIATION = 0.014388
"""Second radiation constant, metre kelvin."""


def colour_cast(image: Image, strength: int, random: np.random.Generator) -> Image:
    """Red and blue scaled relative to green, which keeps its value.

    By Wien's law light of wavelength l is proportional to exp(-c / (l T)), so a shift of 1 / T by m scales it by
    exp(-c m (1 / l - 1 / l_green)) relative to green.
    """
    sign = 1 if random.random() < 0.5 else -1
    shift = sign * LEVELS[strength - 1] * 1e-6  # 1 / K
    light = np.exp(-RADIATION * shift * (1 / WAVELENGTHS - 1 / WAVELENGTHS[1]))  # (3,)
    return np.asarray(np.clip(image * (light ** (1 / GAMMA)).astype(np.float32) + 0.5, 0, 255), np.uint8)
