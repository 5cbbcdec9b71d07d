"""Pictures with the lesion or its surroundings masked: what a model predicts from them shows what else it uses.

After Bissoto et al. (2019, "(De)constructing bias on skin lesion datasets"), whose networks predicted diagnoses from
images without lesions. Masked pixels get one flat colour, the mean of the adjacent skin, since inpainting would carry
texture inwards and black would be an edge that no image has. The lesion is masked by its box and not by its outline,
whose shape would show the diagnosis; the size of the box still carries information, so `border` contains no box.
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
    "without_lesion": "lesion masked",
    "border": "border only",
    "lesion_alone": "lesion only",
}
"""The pictures that `mask_images` makes, with their names on the page; the last is a control."""

MARGIN = 0.06
"""Share of the side by which the lesion's box is wider than the lesion, for a border that fades; also the width of the
adjacent skin whose mean colour fills the masked pixels."""

MIN_SKIN = 20
"""Of 255: skin is brighter than this in at least one channel, a dermatoscope's tube is not."""


@dataclass(frozen=True)
class MaskedPictures:
    """The masked versions of N images, and what is known of their lesions."""

    pictures: dict[str, Image]  # (N, S, S, 3) each, by PICTURES
    lesion_found: Mask  # (N,) True where a lesion outline was found; elsewhere a central ellipse replaces it
    touches_border: Mask  # (N,) True where the lesion reaches into the border, where it is masked too


def mask_images(images: Image, border: float) -> MaskedPictures:
    """All masked versions of images.

    Args:
        images: (N, S, S, 3) uint8 RGB.
        border: width of the border ring, share of the side.
    """
    side = images.shape[1]
    found = [find_lesion(image) for image in images]
    lesions = [central_ellipse(side, side) if mask is None else mask for mask in found]
    ring = border_ring(side, border)
    pairs = list(zip(images, lesions, strict=True))
    pictures = {
        "without_lesion": np.stack([mask_lesion(image, lesion) for image, lesion in pairs]),
        "border": np.stack([keep_border(image, lesion, ring) for image, lesion in pairs]),
        "lesion_alone": np.stack([keep_lesion(image, lesion) for image, lesion in pairs]),
    }
    lesion_found = np.array([mask is not None for mask in found])
    return MaskedPictures(pictures, lesion_found, np.array([bool((lesion & ring).any()) for lesion in lesions]))


def mask_lesion(image: Image, lesion: Mask) -> Image:
    """The image (S, S, 3) with the lesion's box in the colour of the adjacent skin; `lesion` is (S, S)."""
    return _filled(image, lesion_box(lesion), lesion)


def keep_border(image: Image, lesion: Mask, ring: Mask) -> Image:
    """The border ring only; the rest, and the part of the lesion in the ring, get the ring's mean skin colour."""
    masked = ~ring | lesion
    return _filled(image, masked, masked)


def keep_lesion(image: Image, lesion: Mask) -> Image:
    """The lesion on the flat colour of its adjacent skin."""
    return _filled(image, ~lesion, lesion)


def border_ring(side: int, width: float) -> Mask:
    """(S, S), True in the outer `width`, a share of the side; at least one pixel wide."""
    pixels = max(1, round(width * side))
    ring = np.ones((side, side), bool)
    ring[pixels : side - pixels, pixels : side - pixels] = False
    return ring


def lesion_box(lesion: Mask) -> Mask:
    """The upright bounding box of a lesion, wider by MARGIN on each side."""
    side = len(lesion)
    rows, columns = (np.flatnonzero(lesion.any(axis=axis)) for axis in (1, 0))
    margin = round(MARGIN * side)
    box = np.zeros(lesion.shape, bool)
    box[
        max(0, rows[0] - margin) : rows[-1] + margin + 1,
        max(0, columns[0] - margin) : columns[-1] + margin + 1,
    ] = True
    return box


def _filled(image: Image, masked: Mask, lesion: Mask) -> Image:
    filled = image.copy()
    filled[masked] = _skin_colour(image, masked, lesion)
    return filled


def _skin_colour(image: Image, masked: Mask, lesion: Mask) -> Image:
    """Mean colour (3,) of the skin next to the masked pixels, or of all outside the lesion, or of the whole image."""
    reach = 2 * round(MARGIN * len(image)) + 1
    near = cv2.dilate(masked.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    bright = image.max(axis=2) > MIN_SKIN
    for skin in (near & ~masked & ~lesion & bright, ~lesion & bright, ~lesion):
        if skin.any():
            return np.asarray(np.rint(image[skin].mean(axis=0)), np.uint8)
    return np.asarray(np.rint(image.reshape(-1, 3).mean(axis=0)), np.uint8)
