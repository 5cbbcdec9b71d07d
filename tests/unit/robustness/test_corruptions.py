"""Damage is graded, the same for everybody, and physically what it says."""

from __future__ import annotations

import numpy as np
import pytest

from components.base.errors import SettingsError
from components.robustness.corruptions import STRENGTHS, corrupt, corruptions
from components.synthetic.dataset import draw_view, plan_lesions
from components.synthetic.lesions import draw_lesion


def draw(count: int = 6, side: int = 48) -> np.ndarray:
    """Phantoms without confounders' help, (N, S, S, 3)."""
    images = []
    for lesion in plan_lesions(count, 0, 1, seed=3):
        picture, _ = draw_view(lesion, draw_lesion(lesion, side, 0.2, seed=3), 0, side, 0.0, seed=3)
        left = (picture.shape[1] - side) // 2
        images.append(picture[:, left : left + side])
    return np.stack(images)


IMAGES = draw()
IDS = [f"image_{row}" for row in range(len(IMAGES))]
KINDS = list(corruptions())


def test_every_kind_is_a_file_that_says_what_its_levels_mean() -> None:
    assert {"blur", "noise", "colour_cast", "jpeg", "exposure", "hair", "ruler"} <= set(KINDS)
    for kind in corruptions().values():
        assert len(kind.levels) == len(STRENGTHS)
        assert kind.meaning


@pytest.mark.parametrize("kind", KINDS)
def test_each_strength_is_further_from_the_clean_image(kind: str) -> None:
    far = [np.abs(corrupt(kind, IMAGES, s, 0, IDS).astype(float) - IMAGES).mean(axis=(1, 2, 3)) for s in STRENGTHS]
    assert (far[0] > 0).all()
    assert (np.diff(far, axis=0) > 0).all()  # of each image


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_damaged_alike_whatever_stands_beside_it(kind: str) -> None:
    together = corrupt(kind, IMAGES, 3, 7, IDS)
    order = [4, 1]
    apart = corrupt(kind, IMAGES[order], 3, 7, [IDS[row] for row in order])
    np.testing.assert_array_equal(apart, together[order])
    assert together.shape == IMAGES.shape
    assert together.dtype == np.uint8
    before = IMAGES.copy()
    corrupt(kind, IMAGES, 5, 7, IDS)
    np.testing.assert_array_equal(IMAGES, before)


@pytest.mark.parametrize("kind", ["noise", "colour_cast", "exposure", "hair", "ruler"])
def test_another_seed_or_image_draws_anew(kind: str) -> None:
    same = np.repeat(IMAGES[:1], 8, axis=0)
    names = [str(row) for row in range(8)]
    found = corrupt(kind, same, 3, 0, names)
    assert len(np.unique(found, axis=0)) > 1
    assert not np.array_equal(found, corrupt(kind, same, 3, 1, names))


def test_exposure_of_one_stop_is_twice_the_light() -> None:
    grey = np.full((40, 4, 4, 3), 80, np.uint8)
    found = corrupt("exposure", grey, 2, 0, [str(row) for row in range(40)])  # half a stop
    light = (found[:, 0, 0, 0] / 80.0) ** 2.2
    assert {round(float(value), 1) for value in light} == {0.7, 1.4}


def test_colour_cast_is_that_of_planck_s_law() -> None:
    """A camera set to 5,500 K under light of 3,300 K: red over blue changes as two black bodies' ratio does."""
    grey = np.full((40, 2, 2, 3), 120, np.uint8)
    found = corrupt("colour_cast", grey, 5, 0, [str(row) for row in range(40)])[:, 0, 0].astype(float)
    warm = found[found[:, 0] > found[:, 2]][0]

    def planck(length: float, kelvin: float) -> float:
        return 1 / (length**5 * np.expm1(0.014388 / (length * kelvin)))

    ratio = [planck(600e-9, kelvin) / planck(450e-9, kelvin) for kelvin in (5500, 3300)]
    assert (warm[0] / warm[2]) ** 2.2 == pytest.approx(ratio[1] / ratio[0], rel=0.05)
    assert (found[:, 1] == 120).all()


def test_noise_has_the_deviation_that_it_says() -> None:
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    found = corrupt("noise", grey, 3, 0, list("abcd")).astype(float) - 128
    assert found.std() / 255 == pytest.approx(corruptions()["noise"].levels[2], rel=0.02)
    assert abs(found.mean()) < 0.2


def test_unknown_damage_is_named_with_what_there_is() -> None:
    with pytest.raises(SettingsError, match=r"corruption 'fog' is none of .*'blur'"):
        corrupt("fog", IMAGES, 1, 0, IDS)
    with pytest.raises(SettingsError, match=r"strength 6 of corruption blur: expected one of \[1, 2, 3, 4, 5\]"):
        corrupt("blur", IMAGES, 6, 0, IDS)
