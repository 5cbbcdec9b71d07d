"""The augmentation is a function of seed, epoch and position, and of nothing else."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from components.augment import Augment, Augmentation, build

NOTHING = Augment(flips_and_turns=False, scale=0, shift=0, brightness=0, contrast=0, hue=0, saturation=0)
POLICY = Augment(flips_and_turns=True, scale=0.15, shift=0.05, brightness=0.1, contrast=0.1, hue=4, saturation=10)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(8, 32, 32, 3): smooth, without symmetry."""
    ramp = np.arange(32) * 5
    image = np.stack([ramp[:, None] + 0 * ramp, ramp + 0 * ramp[:, None], ramp[:, None] // 2 + ramp // 3], -1)
    return np.stack([image + shift for shift in range(8)]).astype(np.uint8)


@pytest.fixture(scope="module")
def augmentation() -> Augmentation:
    return build(POLICY, seed=3)


def _only(**changes: object) -> Augmentation:
    return build(NOTHING.model_copy(update=changes), seed=0)


def test_same_seed_epoch_and_position_give_same_pixels(images, augmentation):
    again = build(POLICY, seed=3)
    again(images, 5, 100)  # what came before does not matter
    np.testing.assert_array_equal(augmentation(images, 1, 0), again(images, 1, 0))


def test_pixels_do_not_depend_on_the_batch_size(images, augmentation):
    whole = augmentation(images, 2, 8)
    halves = [augmentation(images[:5], 2, 8), augmentation(images[5:], 2, 13)]
    np.testing.assert_array_equal(whole, np.concatenate(halves))


def test_another_seed_gives_other_pixels(images, augmentation):
    other = build(POLICY, seed=4)(images, 1, 0)
    assert not np.array_equal(augmentation(images, 1, 0), other)


def test_every_position_differs_over_epochs_and_from_its_neighbour(images, augmentation):
    same = np.repeat(images[:1], 8, axis=0)  # the same image at every position
    epochs = np.stack([augmentation(same, epoch, 0) for epoch in range(4)])  # (4, 8, S, S, 3)
    flat = epochs.reshape(32, -1)
    assert len(np.unique(flat, axis=0)) == 32


def test_a_policy_of_zeros_is_the_identity(images):
    np.testing.assert_array_equal(build(NOTHING, seed=0)(images, 0, 0), images)


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
    prints = [build(POLICY, 0), build(POLICY, 0), build(POLICY, 1), build(NOTHING, 0)]
    first, again, seeded, other = (augmentation.sha256() for augmentation in prints)
    assert first == again and len({first, seeded, other}) == 3
