"""Hairs over the lesion that nobody shaved: drawn as the phantom's are."""

from __future__ import annotations

import cv2
import numpy as np

from components.corruptions import Image
from components.phantom import HAIRS, lay_hairs, paint

LEVELS = (4.0, 8.0, 15.0, 26.0, 40.0)
MEANING = (
    "terminal hairs across the picture, each 1/220 to 1/80 of its side thick (where it shows 15 mm, 0.07 to 0.19 mm), "
    "all of one colour: from a forearm to a scalp"
)

FINE = 390
"""Pixels on which hairs are drawn at least before they are made as small as the image: thinner than its pixels."""


def hair(image: Image, strength: int, random: np.random.Generator) -> Image:
    """The image under hairs; a lower strength has the first of a higher one's."""
    side = image.shape[0]
    main, colour = random.uniform(0, np.pi), HAIRS[random.integers(len(HAIRS))]
    fine = side * -(-FINE // side)
    cover = lay_hairs(fine, fine, main, int(LEVELS[strength - 1]), random)
    small = np.asarray(cv2.resize(cover, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(paint(image.astype(np.float32) / 255, small, colour) * 255 + 0.5, np.uint8)
