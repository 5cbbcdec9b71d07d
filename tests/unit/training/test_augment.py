"""Augmentation is a function of seed, epoch and position only."""

from __future__ import annotations

import colorsys

import albumentations
import cv2
import numpy as np
import pytest
from ruamel.yaml import YAML

from components.training.augment import Augmentation, build_augmentation
from tests.unit.training.small_settings import AUGMENT, NO_AUGMENT


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(8, 32, 32, 3): smooth, without symmetry."""
    ramp = np.arange(32) * 5
    image = np.stack([ramp[:, None] + 0 * ramp, ramp + 0 * ramp[:, None], ramp[:, None] // 2 + ramp // 3], -1)
    return np.stack([image + shift for shift in range(8)]).astype(np.uint8)


@pytest.fixture(scope="module")
def augmentation() -> Augmentation:
    return build_augmentation(AUGMENT, seed=3)


def _only(**changes: object) -> Augmentation:
    return build_augmentation(NO_AUGMENT.model_copy(update=changes), seed=0)


def test_same_seed_epoch_and_position_give_same_pixels(images, augmentation):
    again = build_augmentation(AUGMENT, seed=3)
    again(images, 5, 100)  # what came before does not matter
    np.testing.assert_array_equal(augmentation(images, 1, 0), again(images, 1, 0))


def test_pixels_do_not_depend_on_the_batch_size(images, augmentation):
    whole = augmentation(images, 2, 8)
    halves = [augmentation(images[:5], 2, 8), augmentation(images[5:], 2, 13)]
    np.testing.assert_array_equal(whole, np.concatenate(halves))


def test_another_seed_gives_other_pixels(images, augmentation):
    other = build_augmentation(AUGMENT, seed=4)(images, 1, 0)
    assert not np.array_equal(augmentation(images, 1, 0), other)


def test_every_position_differs_over_epochs_and_from_its_neighbour(images, augmentation):
    same = np.repeat(images[:1], 8, axis=0)  # the same image at every position
    epochs = np.stack([augmentation(same, epoch, 0) for epoch in range(4)])  # (4, 8, S, S, 3)
    flat = epochs.reshape(32, -1)
    assert len(np.unique(flat, axis=0)) == 32


def test_a_policy_of_zeros_is_the_identity(images):
    np.testing.assert_array_equal(build_augmentation(NO_AUGMENT, seed=0)(images, 0, 0), images)


def test_flips_and_turns_are_the_eight_symmetries_of_the_square(images):
    turns = [np.rot90(images[0], k) for k in range(4)]
    expected = {image.tobytes() for turn in turns for image in (turn, turn[:, ::-1])}
    seen = _only(flips_and_turns=True)(np.repeat(images[:1], 200, axis=0), 0, 0)
    assert {image.tobytes() for image in seen} == expected


def test_draws_of_one_transform_say_nothing_of_another():
    """Zoom and brightness of 200 images are uncorrelated; a common seed would make them equal."""
    cone = np.hypot(*(np.mgrid[:32, :32] - 15.5)) * 4 + 60
    same = np.repeat(np.repeat(cone[None, :, :, None], 3, axis=3).astype(np.uint8), 200, axis=0)
    made = _only(scale=0.3, brightness=0.2)(same, 0, 0).astype(float)[..., 0]
    centre = made[:, 14:18, 14:18].mean((1, 2))  # brightness
    slope = made[:, 16, 24] - made[:, 16, 16]  # zoom
    assert np.std(centre) > 3 and np.std(slope) > 2
    assert abs(np.corrcoef(centre, slope)[0, 1]) < 0.25


def test_hue_is_in_degrees():
    red = np.full((300, 4, 4, 3), (200, 50, 50), dtype=np.uint8)
    made = _only(hue=20)(red, 0, 0)[:, 0, 0] / 255
    hues = np.array([colorsys.rgb_to_hsv(*pixel)[0] * 360 for pixel in made])
    hues = (hues + 180) % 360 - 180
    assert -21 <= hues.min() < -14 and 14 < hues.max() <= 21


def test_brightness_keeps_to_its_share():
    grey = np.full((300, 4, 4, 3), 100, dtype=np.uint8)
    made = _only(brightness=0.1)(grey, 0, 0)[:, 0, 0, 0].astype(int) - 100
    assert -26 <= made.min() < -18 and 18 < made.max() <= 26  # of 255


def test_the_fingerprint_tells_policies_and_seeds_apart():
    prints = [
        build_augmentation(AUGMENT, 0),
        build_augmentation(AUGMENT, 0),
        build_augmentation(AUGMENT, 1),
        build_augmentation(NO_AUGMENT, 0),
    ]
    first, again, seeded, other = (augmentation.sha256() for augmentation in prints)
    assert first == again and len({first, seeded, other}) == 3


def test_the_policy_as_plain_values_makes_the_same_pixels(images, augmentation):
    """Through YAML and back: albumentations' own reading gives transforms that do what ours do."""
    loaded = albumentations.from_dict(_through_yaml(augmentation.serialized()))
    again = Augmentation(loaded.transforms, AUGMENT, seed=3)
    np.testing.assert_array_equal(again(images, 1, 0), augmentation(images, 1, 0))
    assert not np.array_equal(again(images, 1, 0), images)


def _through_yaml(values: dict) -> dict:
    from io import StringIO

    text = StringIO()
    YAML().dump(values, text)
    return dict(YAML(typ="safe").load(text.getvalue()))


def test_geometry_comes_before_colour_and_nothing_normalises(augmentation):
    names = [step["__class_fullname__"] for step in augmentation.serialized()["transform"]["transforms"]]
    assert names == ["D4", "Affine", "RandomBrightnessContrast", "HueSaturationValue"]


def test_images_stay_uint8_after_every_transform(images, augmentation):
    image = images[0]
    for transform in augmentation.transforms:
        image = transform(image=image)["image"]
        assert image.dtype == np.uint8 and image.shape == images[0].shape


def test_a_policy_in_words_names_what_it_does():
    assert NO_AUGMENT.describe() == "nothing"
    assert AUGMENT.describe() == (
        "flips and turns, zoom ±15 %, shift ±5 %, brightness ±10 %, contrast ±10 %, hue ±4°, saturation ±10 of 255"
    )
    assert NO_AUGMENT.model_copy(update={"shift": 0.005}).describe() == "shift ±0.5 %"


def test_one_thread_is_taken(augmentation):
    """A stage keeps to compute.threads; OpenCV would take all cores."""
    assert augmentation.transforms and cv2.getNumThreads() == 1
