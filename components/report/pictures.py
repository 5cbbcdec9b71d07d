"""Pictures as parts of a page: no larger than they are shown, and inside the file."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np


def fit(pixels: np.ndarray[Any, np.dtype[np.uint8]], side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(H, W, 3) with its longer side at most `side`; smaller images stay as they are."""
    scale = side / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    width, height = (max(1, round(scale * length)) for length in (pixels.shape[1], pixels.shape[0]))
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def data_uri(kind: str, data: bytes) -> str:
    """An encoded picture as part of a page."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
