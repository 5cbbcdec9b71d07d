"""Terminal hairs over the lesion, drawn as in the synthetic data."""

from __future__ import annotations

import numpy as np

from components.robustness.corruptions import Image
from components.robustness.overlay import fine_side, overlay
from components.synthetic.confounders import HAIR_COLOURS, hair_cover

LEVELS = (4.0, 8.0, 15.0, 26.0, 40.0)
MEANING = (
    "terminal hairs across the picture, each 1/220 to 1/80 of its side thick (where it shows 15 mm, 0.07 to 0.19 mm), "
    "all of one colour: from a forearm to a scalp"
)


def hair(image: Image, strength: int, random: np.random.Generator) -> Image:
    """The image under hairs; the hairs of a lower strength are the first of those of a higher one."""
    main, colour = random.uniform(0, np.pi), HAIR_COLOURS[random.integers(len(HAIR_COLOURS))]
    fine = fine_side(image.shape[0])
    cover = hair_cover(fine, fine, main, int(LEVELS[strength - 1]), random)
    return overlay(image, cover, colour)
