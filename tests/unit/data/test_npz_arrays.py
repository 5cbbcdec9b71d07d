import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.data import npz_arrays
from components.data.npz_arrays import encode_png
from components.data.source_error import SourceError
from components.data.sources import read_bytes

EVERY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "rgb": rng.integers(0, 256, (5, 28, 30, 3), np.uint8),
        "grey": rng.integers(0, 256, (4, 9, 7), np.uint8),
        "labels": rng.integers(0, 7, (5, 1), np.uint8),
        "floats": rng.random((5, 4, 4)),
    }


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return np.asarray(image)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_row_of_an_array_is_an_image_without_loss(tmp_path: Path, images, save):
    save(tmp_path / "d.npz", **images)
    for name in ("rgb", "grey"):
        for row, pixels in enumerate(images[name]):
            data = read_bytes(tmp_path, f"d.npz/{name}/{row}")
            assert np.array_equal(decoded(data), pixels)
            assert read_bytes(tmp_path, f"d.npz/{name}/{row}.png") == data


def test_a_png_depends_on_nothing_but_its_pixels(images):
    # sha256 of what the encoder wrote when this test was made: stored blocks know no zlib's version
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert encode_png(pixels) == encode_png(np.asfortranarray(pixels))
    assert encode_png(images["rgb"][:, ::-1][0]) == encode_png(images["rgb"][0][::-1].copy())
    assert np.array_equal(decoded(encode_png(pixels)), pixels)


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("d.npz/rgb/5", "missing", "has rows 0 to 4, no '5'"),
        ("d.npz/rgb/-1", "missing", "no '-1'"),
        ("d.npz/rgb/01", "missing", "no '01'"),
        ("d.npz/rgb/²", "missing", "no '²'"),
        ("d.npz/rgb/", "missing", "no ''"),
        ("d.npz/other/0", "missing", "has no array 'other'"),
        ("d.npz/0", "missing", "has no array ''"),
        ("d.npz/labels/0", "unreadable", r"'labels' holds no images \(uint8 \(5, 1\), expected uint8 \(N, H, W\)"),
        ("d.npz/floats/0", "unreadable", r"holds no images \(float64"),
    ],
)
def test_a_row_that_is_no_image_is_named(tmp_path: Path, images, path, kind, message):
    np.savez_compressed(tmp_path / "d.npz", **images)
    with pytest.raises(SourceError, match=message) as error:
        read_bytes(tmp_path, path)
    assert error.value.problem == kind


def test_an_array_of_objects_is_never_unpickled(tmp_path: Path):
    np.savez(tmp_path / "d.npz", a=np.array([print], dtype=object))
    with pytest.raises(SourceError, match="Object arrays cannot be loaded"):
        read_bytes(tmp_path, "d.npz/a/0")


def test_one_array_is_held_and_a_replaced_file_is_read_again(tmp_path: Path):
    for value in (1, 2):
        np.savez(tmp_path / "d.npz", a=np.full((2, 3, 3), value, np.uint8), b=np.zeros((2, 3, 3), np.uint8))
        os.utime(tmp_path / "d.npz", ns=(value, value))
        assert decoded(read_bytes(tmp_path, "d.npz/a/1")).max() == value
        assert decoded(read_bytes(tmp_path, "d.npz/b/1")).max() == 0
    assert npz_arrays._images.cache_info().currsize == 1


@EVERY
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
def test_no_damage_to_an_npz_raises_anything_else(tmp_path: Path, changes):
    np.savez_compressed(tmp_path / "d.npz", a=np.arange(75, dtype=np.uint8).reshape(1, 5, 5, 3))
    data = bytearray((tmp_path / "d.npz").read_bytes())
    for share, what in changes:
        place = int(share * len(data))
        data[place : place + len(what)] = what
    (tmp_path / "d.npz").write_bytes(data)
    npz_arrays._images.cache_clear()
    try:
        assert read_bytes(tmp_path, "d.npz/a/0").startswith(b"\x89PNG")
    except SourceError as error:
        assert str(tmp_path) not in str(error)
