"""Facts about files, against files that are broken in known ways."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from components.scan import UndecodableError, decode, scan, scan_file, sharpness


def photograph(side: int = 64, seed: int = 0) -> Image.Image:
    """A smooth picture that JPEG keeps nearly as it is."""
    rough = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((side + 16, side), Image.Resampling.BICUBIC)


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def put(root: Path, name: str, data: bytes) -> str:
    (root / name).write_bytes(data)
    return name


@pytest.mark.parametrize("form, suffix", [("JPEG", "jpg"), ("PNG", "png"), ("BMP", "bmp"), ("TIFF", "tiff")])
def test_a_sound_image_has_no_problem(tmp_path: Path, form: str, suffix: str) -> None:
    data = encode(photograph(), form)
    facts = scan_file(tmp_path, put(tmp_path, f"a.{suffix}", data))
    assert (facts.problem, facts.format, facts.width, facts.height) == (None, form, 80, 64)
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert facts.bytes == len(data)
    with Image.open(io.BytesIO(data)) as image:
        assert facts.luma == pytest.approx(np.asarray(image.convert("L")).mean(), abs=1)


def test_luma_and_sharpness_match_their_definitions(tmp_path: Path) -> None:
    luma = np.asarray(photograph().convert("L"))
    facts = scan_file(tmp_path, put(tmp_path, "a.png", encode(Image.fromarray(luma), "PNG")))
    padded = np.pad(luma.astype(int), 1, mode="reflect")  # the naive five-point Laplacian
    inner = padded[1:-1, 1:-1]
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * inner
    assert facts.luma == pytest.approx(luma.mean())
    assert facts.sharpness == pytest.approx(laplacian.var())


def test_blur_lowers_sharpness() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 500, 1), dtype=np.uint8)
    assert sharpness(cv2.GaussianBlur(noise, (9, 9), 0)[..., None]) < 0.1 * sharpness(noise)


@pytest.mark.parametrize("form, suffix", [("JPEG", "jpg"), ("PNG", "png"), ("BMP", "bmp"), ("TIFF", "tif")])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_truncated_image_is_corrupt(tmp_path: Path, form: str, suffix: str, share: float) -> None:
    data = encode(photograph(), form)
    facts = scan_file(tmp_path, put(tmp_path, f"a.{suffix}", data[: int(len(data) * share)]))
    assert facts.problem == "corrupt"
    assert facts.detail


def test_overwritten_jpeg_bytes_that_pil_accepts_are_corrupt(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    data = bytearray(encode(noise, "JPEG", quality=90))
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    with Image.open(io.BytesIO(bytes(data))) as image:
        image.load()  # does not raise: the reason why scan does not use it
    assert scan_file(tmp_path, put(tmp_path, "a.jpg", bytes(data))).problem == "corrupt"


@pytest.mark.parametrize("level", [0, 9])
@pytest.mark.parametrize("chunk", [b"PLTE", b"IDAT"])
def test_a_png_with_one_flipped_bit_is_corrupt(tmp_path: Path, chunk: bytes, level: int) -> None:
    data = bytearray(encode(photograph().convert("P"), "PNG", compress_level=level))
    data[data.index(chunk) + 100] ^= 1  # level 0 stores pixels as they are: only a checksum can tell
    assert scan_file(tmp_path, put(tmp_path, "a.png", bytes(data))).problem == "corrupt"


def test_bad_files_are_named_by_their_problem(tmp_path: Path) -> None:
    jpeg = encode(photograph(), "JPEG")
    files = {
        "empty.jpg": (b"", "empty"),
        "notes.jpg": (b"dear colleague, here is the image", "not_an_image"),
        "header.jpg": (jpeg[:100], "corrupt"),
        "really_jpeg.png": (jpeg, "wrong_extension"),
        "page.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
    }
    found = {name: scan_file(tmp_path, put(tmp_path, name, data)).problem for name, (data, _) in files.items()}
    assert found == {name: problem for name, (_, problem) in files.items()}
    assert scan_file(tmp_path, "nowhere.jpg").problem == "missing"
    assert scan_file(tmp_path, "").problem == "missing"


def test_what_leaves_the_folder_is_never_opened(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(encode(photograph(), "JPEG"))
    (root / "link.jpg").symlink_to(secret)
    for path in ("../secret.jpg", str(secret), "link.jpg", "a/../../secret.jpg"):
        facts = scan_file(root, path)
        assert (facts.problem, facts.sha256) == ("outside_folder", None), path


def test_a_picture_larger_than_memory_is_refused_before_it_is_decoded() -> None:
    data = bytearray(encode(photograph(), "JPEG"))
    frame = data.index(b"\xff\xc0")  # start of frame: length, precision, height, width
    data[frame + 5 : frame + 9] = (12_000).to_bytes(2, "big") * 2
    assert 12_000**2 < 178_956_970
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(UndecodableError) as small:
        decode(bytes(data))
    assert small.value.problem == "corrupt"
    data[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    with pytest.raises(UndecodableError) as large:
        decode(bytes(data))
    assert large.value.problem == "too_large"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_orientation_is_that_of_pil(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    data = encode(photograph(), form, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    pixels = decode(data)[1]
    assert pixels.shape == upright.shape
    assert np.abs(pixels - upright).max() <= 3  # two JPEG decoders round differently


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    grey = np.asarray(photograph().convert("L"))
    if mode == "I;16":
        data = encode(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    else:
        picture = Image.fromarray(grey)
        image = picture.convert("RGB").convert(mode) if mode != "L" else picture
        data = encode(image, "JPEG" if mode == "CMYK" else "PNG")
    pixels = decode(data)[1]
    assert (pixels.shape, pixels.dtype) == ((64, 80, 3), np.uint8)
    if mode != "P":  # a palette has its own colours
        assert np.abs(pixels.astype(int) - grey[..., None]).max() <= 12


def test_scan_is_sorted_and_the_same_in_threads(tmp_path: Path) -> None:
    names = [put(tmp_path, f"{n}.png", encode(photograph(32, n), "PNG")) for n in (3, 1, 2)]
    plain = scan(tmp_path, [*names, "0.png"], None, lambda items, total, what: items)
    with ThreadPoolExecutor(2) as executor:
        threaded = scan(tmp_path, [*names[::-1], "0.png"], executor, lambda items, total, what: items)
    assert plain["path"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert plain["problem"].tolist()[0] == "missing"
    pd.testing.assert_frame_equal(plain, threaded)


def test_an_empty_scan_has_the_same_columns_and_types(tmp_path: Path) -> None:
    put(tmp_path, "a.png", encode(photograph(), "PNG"))
    nothing = scan(tmp_path, [], None, lambda items, total, what: items)
    something = scan(tmp_path, ["a.png"], None, lambda items, total, what: items)
    assert nothing.dtypes.to_dict() == something.dtypes.to_dict()
