"""Single corruptions have the physical size that they state."""

from __future__ import annotations

import numpy as np
import pytest

from components.base.errors import SettingsError
from components.robustness.corruptions import corrupt, load_corruption
from tests.unit.robustness.synthetic_images import draw_images, name_images

IMAGES = draw_images()
IDS = name_images(IMAGES)


@pytest.mark.parametrize("name", ["noise", "colour_cast", "exposure", "hair", "ruler"])
def test_another_seed_or_image_draws_anew(name: str) -> None:
    same = np.repeat(IMAGES[:1], 8, axis=0)
    ids = [str(row) for row in range(8)]
    found = corrupt(name, same, 3, seed=0, ids=ids)
    assert len(np.unique(found, axis=0)) > 1
    assert not np.array_equal(found, corrupt(name, same, 3, seed=1, ids=ids))


def test_exposure_of_one_stop_is_twice_the_light() -> None:
    grey = np.full((40, 4, 4, 3), 80, np.uint8)
    found = corrupt("exposure", grey, 2, seed=0, ids=[str(row) for row in range(40)])  # half a stop
    light = (found[:, 0, 0, 0] / 80.0) ** 2.2
    assert {round(float(value), 1) for value in light} == {0.7, 1.4}


def test_colour_cast_is_that_of_planck_s_law() -> None:
    """A camera set to 5,500 K under light of 3,300 K: red over blue changes as two black bodies' ratio does."""
    grey = np.full((40, 2, 2, 3), 120, np.uint8)
    found = corrupt("colour_cast", grey, 5, seed=0, ids=[str(row) for row in range(40)])[:, 0, 0].astype(float)
    warm = found[found[:, 0] > found[:, 2]][0]

    def planck(length: float, kelvin: float) -> float:
        return 1 / (length**5 * np.expm1(0.014388 / (length * kelvin)))

    ratio = [planck(600e-9, kelvin) / planck(450e-9, kelvin) for kelvin in (5500, 3300)]
    assert (warm[0] / warm[2]) ** 2.2 == pytest.approx(ratio[1] / ratio[0], rel=0.05)
    assert (found[:, 1] == 120).all()


def test_noise_has_the_deviation_that_it_says() -> None:
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    found = corrupt("noise", grey, 3, seed=0, ids=list("abcd")).astype(float) - 128
    assert found.std() / 255 == pytest.approx(load_corruption("noise").levels[2], rel=0.02)
    assert abs(found.mean()) < 0.2


@pytest.mark.parametrize("name", ["blur", "noise", "colour_cast", "exposure", "jpeg"])
@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_are_clipped_and_do_not_wrap_around(name: str, value: int) -> None:
    images = np.full((16, 32, 32, 3), value, np.uint8)
    found = corrupt(name, images, 5, seed=0, ids=[str(row) for row in range(len(images))])
    assert np.abs(found.astype(int) - value).max() < 200


def test_an_unknown_corruption_is_named_with_those_that_exist() -> None:
    with pytest.raises(
        SettingsError, match=r"'fog' is no file in components/robustness/corruptions, expected one of blur"
    ):
        corrupt("fog", IMAGES, 1, seed=0, ids=IDS)
    with pytest.raises(SettingsError, match=r"strength 6 of corruption blur: expected one of \[1, 2, 3, 4, 5\]"):
        corrupt("blur", IMAGES, 6, seed=0, ids=IDS)
