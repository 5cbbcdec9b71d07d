"""What is left of an image in which the lesion, or everything but the lesion, is masked."""

from __future__ import annotations

import numpy as np

from components.data.lesion_mask import find_lesion
from components.robustness.occlusion import border_ring, lesion_box, mask_images
from tests.unit.data.outlined_images import SIDE, draw_outlined

IMAGES, _ = draw_outlined()
FOUND = [find_lesion(image) for image in IMAGES]


def test_nothing_of_the_lesion_or_of_the_rest_is_left() -> None:
    masked = mask_images(IMAGES, 0.12)
    ring = border_ring(SIDE, 0.12)
    checked = 0
    for row, mask in enumerate(FOUND):
        if mask is None:
            continue
        checked += 1
        box = lesion_box(mask)
        assert (mask <= box).all()
        without, border, alone = (masked.pictures[name][row] for name in ("without_lesion", "border", "lesion_alone"))
        assert len(np.unique(without[box], axis=0)) == 1
        np.testing.assert_array_equal(without[~box], IMAGES[row][~box])
        np.testing.assert_array_equal(border[ring & ~mask], IMAGES[row][ring & ~mask])
        assert len(np.unique(border[~ring | mask], axis=0)) == 1
        np.testing.assert_array_equal(alone[mask], IMAGES[row][mask])
        assert len(np.unique(alone[~mask], axis=0)) == 1
        assert masked.touches_border[row] == (mask & ring).any()
    assert checked >= 18
    np.testing.assert_array_equal(masked.lesion_found, [mask is not None for mask in FOUND])


def test_the_fill_is_the_colour_of_the_skin_next_to_it() -> None:
    image = np.full((1, SIDE, SIDE, 3), (212, 166, 140), np.uint8)
    image[0, 24:40, 24:40] = (110, 70, 50)
    filled = mask_images(image, 0.12).pictures["without_lesion"][0]
    np.testing.assert_array_equal(filled, np.broadcast_to((212, 166, 140), filled.shape))
