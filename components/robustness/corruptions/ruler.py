"""The scale of a contact plate or a ruler next to the lesion, drawn as in the synthetic data."""

from __future__ import annotations

import numpy as np

from components.robustness.corruptions import Image
from components.robustness.overlay import fine_side, overlay
from components.synthetic.confounders import RULER_COLOUR, ruler_cover

LEVELS = (0.08, 0.13, 0.2, 0.3, 0.45)
MEANING = (
    "length of each fifth tick from the upper or lower edge, as a share of the picture's side; the others are half as "
    "long, 5 to 7.5 % of the side apart (a millimetre where the picture shows 13 to 20): from the edge to the lesion"
)


def ruler(image: Image, strength: int, random: np.random.Generator) -> Image:
    """The image under a scale along one edge."""
    fine = fine_side(image.shape[0])
    top, pitch, phase = random.random() < 0.5, random.uniform(0.05, 0.075), random.random()
    cover = ruler_cover(height=fine, width=fine, top=bool(top), pitch=pitch, phase=phase, length=LEVELS[strength - 1])
    return overlay(image, cover, RULER_COLOUR)
