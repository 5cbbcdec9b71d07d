"""Synthetic images with the mask of the lesion as it was drawn."""

from __future__ import annotations

import numpy as np

from components.synthetic.dataset import draw_view, frame_view, plan_lesions, view_stream
from components.synthetic.lesions import Lesion, draw_lesion, lesion_stream, shape_lesion

SIDE, SEED = 64, 11


def true_mask(lesion: Lesion, view: int) -> np.ndarray:
    """Where the lesion was drawn in the picture of `draw_view`, (S, 4/3 S) bool: not as `find_lesion` finds it."""
    radius = shape_lesion(lesion, SIDE, 0.0, lesion_stream(lesion, SEED)).radius
    inside = (radius < 1).astype(np.float32)
    return frame_view(inside, SIDE, view_stream(lesion, view, SEED)) > 0.5


def draw_outlined(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic images (N, S, S, 3), some with hair, rulers, vignettes and gel, and their lesions' masks, (N, S, S)."""
    images, masks = [], []
    for lesion in plan_lesions(count, 0, 1, SEED):
        picture, _ = draw_view(
            lesion, draw_lesion(lesion, SIDE, 0.0, SEED), 0, image_size=SIDE, confounding=0.0, seed=SEED
        )
        mask = true_mask(lesion, 0)
        assert mask.shape == picture.shape[:2]
        left = (picture.shape[1] - SIDE) // 2
        images.append(picture[:, left : left + SIDE])
        masks.append(mask[:, left : left + SIDE])
    return np.stack(images), np.stack(masks)
