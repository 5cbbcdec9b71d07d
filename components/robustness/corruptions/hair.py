"""Hairs over the lesion that nobody shaved: drawn as the phantom's are."""

from __future__ import annotations

import numpy as np

from components.robustness.corruptions import Image, finer, lay_on
from components.synthetic.confounders import HAIRS, lay_hairs

LEVELS = (4.0, 8.0, 15.0, 26.0, 40.0)
MEANING = (
    "terminal hairs across the picture, each 1/220 to 1/80 of its side thick (where it shows 15 mm, 0.07 to 0.19 mm), "
    "all of one colour: from a forearm to a scalp"
)


def hair(image: Image, strength: int, random: np.random.Generator) -> Image:
    """The image under hairs; a lower strength has the first of a higher one's."""
    main, colour = random.uniform(0, np.pi), HAIRS[random.integers(len(HAIRS))]
    fine = finer(image.shape[0])
    cover = lay_hairs(fine, fine, main, int(LEVELS[strength - 1]), random)
    return lay_on(image, cover, colour)
