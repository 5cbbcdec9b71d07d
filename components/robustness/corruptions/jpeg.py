"""Strong JPEG compression: blocks and smeared colours."""

from __future__ import annotations

import cv2
import numpy as np

from components.robustness.corruptions import Image

LEVELS = (80.0, 60.0, 40.0, 20.0, 10.0)
MEANING = (
    "JPEG quality, of 100, of the packed picture itself, whose blocks of 8 pixels cover more skin than a camera's: "
    "from a mail attachment to a picture sent through a messenger several times"
)


def jpeg(image: Image, strength: int, random: np.random.Generator) -> Image:
    """The image encoded as JPEG and decoded."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(LEVELS[strength - 1])])
    return np.asarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1], np.uint8)
