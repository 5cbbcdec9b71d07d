"""Light of another colour than the camera was balanced for: too yellow or too blue."""

from __future__ import annotations

import numpy as np

from components.robustness.corruptions import Image

LEVELS = (15.0, 30.0, 50.0, 80.0, 120.0)
MEANING = (
    "shift of the light's colour in mired (a million by kelvin), warmer in half of the images, cooler in the others: "
    "of a camera set to 5,500 K, 15 is light of 6,000 K, 120 that of a halogen lamp (3,300 K)"
)

LENGTHS = np.array([600e-9, 550e-9, 450e-9])
"""Wavelengths of red, green and blue in metres."""

RADIATION = 0.014388
"""Second radiation constant, metre kelvin."""

GAMMA = 2.2
"""Code values are light to the power of 1 / GAMMA, nearly, as sRGB has it."""


def colour_cast(image: Image, strength: int, random: np.random.Generator) -> Image:
    """Red and blue raised and lowered against green, which keeps its value.

    By Wien's law light of wavelength l is in proportion to exp(-c / (l T)), so a shift of 1 / T by m changes it by
    exp(-c m (1 / l - 1 / l_green)).
    """
    sign = 1 if random.random() < 0.5 else -1
    shift = sign * LEVELS[strength - 1] * 1e-6  # 1 / K
    light = np.exp(-RADIATION * shift * (1 / LENGTHS - 1 / LENGTHS[1]))  # (3,)
    return np.asarray(np.clip(image * (light ** (1 / GAMMA)).astype(np.float32) + 0.5, 0, 255), np.uint8)
