"""Pictures in which the lesion is hidden, or all but the lesion: what a model still knows, it has from elsewhere.

After Bissoto et al. (2019, "(De)constructing bias on skin lesion datasets"), whose networks told diagnoses without
lesions. What is hidden becomes one flat colour, the mean of the skin beside it, since inpainting would carry
texture inwards and black would be an edge that no picture has. The lesion is hidden by its box and not by its
outline, whose shape would tell the diagnosis; how large the box is still tells something, so `border` knows no box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from components.data.lesion_mask import central_ellipse, find_lesion

Image = np.ndarray[Any, np.dtype[np.uint8]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

PICTURES = {
    "without_lesion": "without the lesion",
    "border": "the border alone",
    "lesion_alone": "the lesion alone",
}
"""The pictures that `hide` makes; the last is a control."""

AROUND = 0.06
"""Share of the side by which the lesion's box is wider than the lesion, for a rim that fades; and of the skin beside
it whose colour fills."""

SURROUND = 20
"""Of 255: skin is brighter than this in some channel, a dermatoscope's tube is not."""


@dataclass(frozen=True)
class Hidden:
    """The pictures of N images, and how far they can be trusted."""

    pictures: dict[str, Image]  # (N, S, S, 3) each, by PICTURES
    found: Mask  # (N,) whether the lesion was; elsewhere an ellipse in the middle stands in
    reaching: Mask  # (N,) whether the lesion reaches into the border, where it is hidden too


def hide(images: Image, width: float) -> Hidden:
    """All pictures of (N, S, S, 3); `width` of the border is a share of the side."""
    side = images.shape[1]
    found = [find_lesion(image) for image in images]
    lesions = [central_ellipse(side, side) if mask is None else mask for mask in found]
    ring = border_ring(side, width)
    pictures = {
        "without_lesion": [without_lesion(image, lesion) for image, lesion in zip(images, lesions, strict=True)],
        "border": [border_alone(image, lesion, ring) for image, lesion in zip(images, lesions, strict=True)],
        "lesion_alone": [lesion_alone(image, lesion) for image, lesion in zip(images, lesions, strict=True)],
    }
    return Hidden(
        {name: np.stack(rows) for name, rows in pictures.items()},
        np.array([mask is not None for mask in found]),
        np.array([bool((lesion & ring).any()) for lesion in lesions]),
    )


def without_lesion(image: Image, lesion: Mask) -> Image:
    """The picture (S, S, 3) with the lesion's box in the colour of the skin beside it."""
    return _filled(image, lesion_box(lesion), lesion)


def border_alone(image: Image, lesion: Mask, ring: Mask) -> Image:
    """The outer ring alone; the rest, and what of the lesion reaches into it, has the ring's own mean colour."""
    hidden = ~ring | lesion
    return _filled(image, hidden, hidden)


def lesion_alone(image: Image, lesion: Mask) -> Image:
    """The lesion on the flat colour of its skin."""
    return _filled(image, ~lesion, lesion)


def border_ring(side: int, width: float) -> Mask:
    """(S, S), true in the outer `width`, a share of the side; at least one pixel wide."""
    wide = max(1, round(width * side))
    ring = np.ones((side, side), bool)
    ring[wide : side - wide, wide : side - wide] = False
    return ring


def lesion_box(lesion: Mask) -> Mask:
    """The upright box around a lesion, a little wider than it."""
    side = len(lesion)
    rows, columns = (np.flatnonzero(lesion.any(axis=axis)) for axis in (1, 0))
    grow = round(AROUND * side)
    box = np.zeros(lesion.shape, bool)
    box[max(0, rows[0] - grow) : rows[-1] + grow + 1, max(0, columns[0] - grow) : columns[-1] + grow + 1] = True
    return box


def _filled(image: Image, hidden: Mask, lesion: Mask) -> Image:
    filled = image.copy()
    filled[hidden] = _skin(image, hidden, lesion)
    return filled


def _skin(image: Image, hidden: Mask, lesion: Mask) -> Image:
    """Mean colour (3,) of the skin beside what is hidden, or else of all that is no lesion, or of everything."""
    reach = 2 * round(AROUND * len(image)) + 1
    beside = cv2.dilate(hidden.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    lit = image.max(axis=2) > SURROUND
    for skin in (beside & ~hidden & ~lesion & lit, ~lesion & lit, ~lesion):
        if skin.any():
            return np.asarray(np.rint(image[skin].mean(axis=0)), np.uint8)
    return np.asarray(np.rint(image.reshape(-1, 3).mean(axis=0)), np.uint8)
