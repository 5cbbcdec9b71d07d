"""The hash against scipy's transform, against the pixels of turned images, and under what happens to copies."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import simplejpeg
from scipy.fft import dctn

from components.validation.perceptual_hash import (
    PLACES,
    SIDE,
    TURNS,
    WINDOWS,
    Hashes,
    Pixels,
    crop_hashes,
    phash,
    turn_pixels,
    turned,
)

NUMPY = {
    "identity": lambda image: image,
    "rot90": lambda image: np.rot90(image, 1),
    "rot180": lambda image: np.rot90(image, 2),
    "rot270": lambda image: np.rot90(image, 3),
    "mirror": np.fliplr,
    "flip": np.flipud,
    "transpose": np.transpose,
    "transverse": lambda image: np.rot90(image, 2).T,
}


def textured(seed: int, height: int = 150, width: int = 200) -> Pixels:
    """Noise whose strength falls with frequency, as a photograph's does."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 1, (size, size)), (width, height), interpolation=cv2.INTER_CUBIC) * weight
        for size, weight in ((3, 20), (6, 12), (12, 8), (40, 4))
    ]
    return np.clip(sum(layers, np.full((height, width), 128.0)), 0, 255).astype(np.uint8)


def bits_apart(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def recompressed(image: Pixels, quality: int) -> Pixels:
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(image[..., None]), quality, colorspace="GRAY")
    return np.asarray(simplejpeg.decode_jpeg(data, colorspace="GRAY"))


def rescaled(image: Pixels, factor: float) -> Pixels:
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))


def test_bits_are_the_signs_of_scipys_cosine_transform() -> None:
    image = textured(0, SIDE, SIDE)
    waves = dctn(image.astype(np.float64) - image.mean(), type=2)
    wanted = sum(int(waves[v, u] > 0) << bit for bit, (v, u) in enumerate(PLACES))
    assert phash(image) == wanted


def test_the_64_frequencies_are_distinct_without_the_mean_and_closed_under_transposition() -> None:
    places = {(int(v), int(u)) for v, u in PLACES}
    assert len(places) == 64
    assert (0, 0) not in places
    assert places == {(u, v) for v, u in places}


@pytest.mark.parametrize("turn", TURNS)
def test_pixels_turn_as_numpy_turns_them(turn: str) -> None:
    image = textured(1, 40, 60)
    assert np.array_equal(turn_pixels(image, turn), NUMPY[turn](image))


@pytest.mark.parametrize("turn", TURNS)
def test_the_hash_of_a_turned_image_is_known_without_its_pixels(turn: str) -> None:
    images = [textured(seed) for seed in range(20)]
    known = turned(np.array([phash(image) for image in images], np.uint64), turn)
    seen = [phash(np.ascontiguousarray(NUMPY[turn](image))) for image in images]
    assert max(bits_apart(int(a), b) for a, b in zip(known, seen, strict=True)) <= 1  # a coefficient at 0


def test_eight_turns_give_eight_hashes() -> None:
    own: Hashes = np.array([phash(textured(2))], np.uint64)
    assert len({int(turned(own, turn)[0]) for turn in TURNS}) == 8


@pytest.mark.parametrize(
    ("change", "most"),
    [
        (lambda image: rescaled(image, 0.5), 2),
        (lambda image: rescaled(image, 0.25), 5),
        (lambda image: rescaled(image, 3.0), 3),
        (lambda image: recompressed(image, 70), 2),
        (lambda image: recompressed(image, 30), 4),
        (lambda image: (image * 0.6 + 20).astype(np.uint8), 2),
        (lambda image: 255 - (255 - image) // 2, 2),
    ],
    ids=["half", "quarter", "threefold", "quality 70", "quality 30", "darker", "brighter, less contrast"],
)
def test_the_hash_survives_what_a_copy_goes_through(change: Callable[[np.ndarray], np.ndarray], most: int) -> None:
    images = [textured(seed) for seed in range(20)]
    assert max(bits_apart(phash(image), phash(change(image))) for image in images) <= most


def test_different_images_are_about_half_the_bits_apart() -> None:
    hashes = [phash(textured(seed)) for seed in range(40)]
    apart = [bits_apart(a, b) for place, a in enumerate(hashes) for b in hashes[:place]]
    assert min(apart) > 10
    assert 30 < np.mean(apart) < 34


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (64, 64), (450, 600), (31, 33, 1)])
def test_a_constant_image_of_any_size_has_hash_zero(shape: tuple[int, ...]) -> None:
    assert [phash(np.full(shape, level, np.uint8)) for level in (0, 99, 255)] == [0, 0, 0]


def test_a_last_axis_of_one_changes_nothing() -> None:
    image = textured(3)
    assert phash(image) == phash(image[..., None])
    assert 0 <= phash(image) < 2**64


def test_some_window_is_near_every_crop() -> None:
    rng, apart = np.random.default_rng(0), []
    for seed in range(40):
        image = textured(seed)
        left, right, top, bottom = (rng.uniform(0, 0.1, 4) * (200, 200, 150, 150)).astype(int)
        part = np.ascontiguousarray(image[top : 150 - bottom, left : 200 - right])
        apart.append((int(np.bitwise_count(crop_hashes(image) ^ np.uint64(phash(part))).min()), phash(part)))
    assert np.mean([bits <= 8 for bits, _ in apart]) >= 0.95


@pytest.mark.parametrize("place", range(len(WINDOWS)))
def test_a_windows_hash_is_that_of_the_part_it_shows(place: int) -> None:
    top, bottom, left, right = WINDOWS[place]
    image = textured(4, 400, 400)  # every cut is a whole number of pixels
    part = image[round(400 * top) : 400 - round(400 * bottom), round(400 * left) : 400 - round(400 * right)]
    assert bits_apart(int(crop_hashes(image)[place]), phash(np.ascontiguousarray(part))) <= 3
