"""Synthetic lesion images without confounders, for tests of single images."""

from __future__ import annotations

import numpy as np

from components.synthetic.dataset import draw_view, plan_lesions
from components.synthetic.lesions import draw_lesion


def draw_images(count: int = 6, side: int = 48) -> np.ndarray:
    """(N, S, S, 3) uint8 RGB, one lesion each."""
    images = []
    for lesion in plan_lesions(count, 0, 1, seed=3):
        picture, _ = draw_view(
            lesion, draw_lesion(lesion, side, 0.2, seed=3), 0, image_size=side, confounding=0.0, seed=3
        )
        left = (picture.shape[1] - side) // 2
        images.append(picture[:, left : left + side])
    return np.stack(images)


def name_images(images: np.ndarray) -> list[str]:
    """An id for each image."""
    return [f"image_{row}" for row in range(len(images))]
