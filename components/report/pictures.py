"""Images inside a page: reduced to the size at which they are shown, and embedded in the file."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np


def fit(pixels: np.ndarray[Any, np.dtype[np.uint8]], side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image (H, W, 3), reduced so that its longer side is at most `side` pixels; a smaller image is unchanged."""
    scale = side / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    width, height = (max(1, round(scale * length)) for length in (pixels.shape[1], pixels.shape[0]))
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def data_uri(kind: str, data: bytes) -> str:
    """Encoded bytes of an image as the `src` of an <img>; `kind` is the subtype: `jpeg`, `png`."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
