"""What every file of components/robustness/corruptions must do; a new file is tested without a change here."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from components.base.families import load_member, members
from components.robustness.corruptions import STRENGTHS, corrupt, image_generator, load_corruption
from tests.unit.robustness.synthetic_images import draw_images, name_images

FAMILY = "robustness.corruptions"
EVERY_CORRUPTION = pytest.mark.parametrize("name", members(FAMILY))
IMAGES = draw_images()
IDS = name_images(IMAGES)


def test_the_family_has_the_corruptions_of_the_study() -> None:
    assert {"blur", "noise", "colour_cast", "jpeg", "exposure", "hair", "ruler"} <= set(members(FAMILY))


@EVERY_CORRUPTION
def test_a_file_says_what_it_is_and_what_its_levels_mean(name: str) -> None:
    module = load_member(FAMILY, name)
    assert module.__doc__.partition("\n")[0].endswith(".")
    assert len(module.LEVELS) == len(STRENGTHS)
    assert len(set(np.sign(np.diff(module.LEVELS)))) == 1  # each level is further in the same direction
    assert module.MEANING
    assert load_corruption(name).apply is getattr(module, name)


@EVERY_CORRUPTION
def test_each_strength_is_further_from_the_clean_image(name: str) -> None:
    corrupted = [corrupt(name, IMAGES, strength, seed=0, ids=IDS) for strength in STRENGTHS]
    far = [np.abs(each.astype(float) - IMAGES).mean(axis=(1, 2, 3)) for each in corrupted]
    assert (far[0] > 0).all()
    assert (np.diff(far, axis=0) > 0).all()  # of each image


@EVERY_CORRUPTION
def test_the_same_seed_gives_the_same_bits_whatever_the_batch_and_the_order(name: str) -> None:
    together = corrupt(name, IMAGES, 3, seed=7, ids=IDS)
    order = [4, 1]
    apart = corrupt(name, IMAGES[order], 3, seed=7, ids=[IDS[row] for row in order])
    np.testing.assert_array_equal(apart, together[order])
    np.testing.assert_array_equal(corrupt(name, IMAGES, 3, seed=7, ids=IDS), together)


@EVERY_CORRUPTION
def test_the_random_numbers_depend_on_seed_and_image_id_or_are_not_used(name: str) -> None:
    same = np.repeat(IMAGES[:1], 16, axis=0)
    ids = [str(row) for row in range(len(same))]
    corrupted = corrupt(name, same, 3, seed=0, ids=ids)
    by_id = len(np.unique(corrupted, axis=0)) > 1
    by_seed = not np.array_equal(corrupted, corrupt(name, same, 3, seed=1, ids=ids))
    random = image_generator(0, name, "0")
    before = random.bit_generator.state
    load_corruption(name).apply(IMAGES[0], 3, random)
    uses_random = random.bit_generator.state != before
    assert (by_id, by_seed) == (uses_random, uses_random)


@EVERY_CORRUPTION
@pytest.mark.parametrize("side", [32, 48, 100])
@pytest.mark.parametrize("strength", [STRENGTHS[0], STRENGTHS[-1]])
def test_images_keep_shape_and_type_and_the_input_is_not_changed(name: str, side: int, strength: int) -> None:
    images = np.random.default_rng(side).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    before = images.copy()
    single = load_corruption(name).apply(images[0], strength, image_generator(0, name, "a"))
    assert (single.shape, single.dtype) == ((side, side, 3), np.uint8)
    np.testing.assert_array_equal(corrupt(name, images, strength, seed=0, ids=["a", "b"])[0], single)
    np.testing.assert_array_equal(images, before)


def test_a_corruption_is_loaded_without_the_others() -> None:
    code = (
        "import sys; from components.robustness.corruptions import load_corruption; load_corruption('blur'); "
        "print([name for name in sys.modules if name.startswith('components.robustness.corruptions.')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['components.robustness.corruptions.blur']"
