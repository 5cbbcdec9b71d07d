"""The outline that is found is the one that was drawn; None where nothing is found."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from components.data.lesion_mask import central_ellipse, find_lesion, lesion_share
from tests.unit.data.outlined_images import SIDE, draw_outlined

IMAGES, TRUTH = draw_outlined()
FOUND = [find_lesion(image) for image in IMAGES]


def test_most_synthetic_lesions_are_outlined_as_they_were_drawn() -> None:
    overlaps = [
        0.0 if mask is None else (mask & truth).sum() / (mask | truth).sum()
        for mask, truth in zip(FOUND, TRUTH, strict=True)
    ]
    assert np.median(overlaps) > 0.8
    assert np.mean(np.array(overlaps) > 0.5) > 0.75


def test_share_is_that_of_the_mask_and_nearly_the_truth() -> None:
    shares = np.array([lesion_share(image) for image in IMAGES])
    np.testing.assert_allclose(shares, [np.nan if mask is None else mask.mean() for mask in FOUND])
    known = np.isfinite(shares)
    assert known.mean() > 0.75
    assert np.median(abs(shares[known] - TRUTH[known].mean(axis=(1, 2)))) < 0.03


def test_a_turned_or_mirrored_picture_has_the_turned_outline() -> None:
    known = [(image, mask) for image, mask in zip(IMAGES, FOUND, strict=True) if mask is not None][:8]
    assert len(known) == 8
    for image, mask in known:
        for turn in (lambda a: np.rot90(a), lambda a: np.rot90(a, 2), lambda a: a[:, ::-1]):
            turned = find_lesion(np.ascontiguousarray(turn(image)))
            assert turned is not None
            assert (turned & turn(mask)).sum() / (turned | turn(mask)).sum() > 0.97


def test_a_picture_without_a_lesion_has_none() -> None:
    rng = np.random.default_rng(0)
    skin = np.clip(rng.normal((212, 166, 140), 4, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    for image in (np.zeros((SIDE, SIDE, 3), np.uint8), np.full((SIDE, SIDE, 3), 200, np.uint8), skin):
        assert find_lesion(image) is None
        assert np.isnan(lesion_share(image))


def test_a_disc_on_skin_in_a_dark_tube_is_found_and_the_tube_is_not() -> None:
    down, across = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    far = np.hypot(down, across)
    image = np.full((SIDE, SIDE, 3), (212, 166, 140), np.uint8)
    image[far < 12] = (110, 70, 50)
    image[far > 31] = 8
    found = find_lesion(image)
    assert found is not None
    assert 0.8 < found.sum() / (far < 12).sum() < 1.5
    assert not found[far > 18].any()


def test_the_fallback_ellipse_lies_in_the_middle() -> None:
    ellipse = central_ellipse(60, 80)
    assert ellipse[30, 40]
    assert not ellipse[[0, -1]].any()
    assert ellipse.mean() == pytest.approx(np.pi * 0.35**2, rel=0.02)


@pytest.mark.real
def test_most_lesions_of_ham10000_are_found(ham10000: Path) -> None:
    table = pd.read_csv(ham10000 / "HAM10000_metadata.csv").sample(40, random_state=1)
    shares = []
    for name in table["image_id"]:
        path = next((ham10000 / "images").glob(f"{name}.*"))
        image = cv2.imread(str(path))[..., ::-1]
        shares.append(lesion_share(np.ascontiguousarray(image)))
    assert np.isfinite(shares).mean() > 0.9
    assert 0.08 < np.nanmedian(shares) < 0.35
