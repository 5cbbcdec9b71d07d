"""Small pictures hold pixels and nothing else."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin

from components.validation.thumbnails import SIDE, Thumbnail, shrink, thumbnail, tile

NAME = "Erika Mustermann"


def picture(width: int = 400, height: int = 300) -> Image.Image:
    """Red on the left, blue on the right, so that turns are seen."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    ImageDraw.Draw(image).rectangle((width // 2, 0, width, height), fill=(20, 30, 200))
    return image


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def opened(made: Thumbnail) -> Image.Image:
    assert made.problem is None
    head, _, body = made.uri.partition(",")
    assert head == "data:image/webp;base64"
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    image.load()
    return image


def identified(form: str) -> bytes:
    """An image that says in every way it can who it shows and where."""
    exif = Image.Exif()
    exif[0x010E] = NAME  # description
    exif[0x013B] = NAME  # artist
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 14.0)
    options: dict[str, object] = {"exif": exif.tobytes()}
    if form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Patient", NAME)
        options["pnginfo"] = text
    if form == "JPEG":
        options["comment"] = NAME.encode()
    if form in ("JPEG", "WEBP"):
        options["xmp"] = f"<x:xmpmeta>{NAME}</x:xmpmeta>".encode()
    return encode(picture(), form, **options)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_nothing_but_pixels_survives(form: str) -> None:
    data = identified(form)
    assert NAME.encode() in data
    made = shrink(data)
    image = opened(made)
    assert NAME.encode() not in base64.b64decode(made.uri.partition(",")[2])
    assert dict(image.getexif()) == {}
    assert not {"exif", "xmp", "comment", "icc_profile", "Patient"} & set(image.info)


def test_the_longer_side_is_bounded_and_the_shape_is_kept() -> None:
    assert opened(shrink(encode(picture(400, 300), "JPEG"))).size == (SIDE, SIDE * 3 // 4)
    assert opened(shrink(encode(picture(100, 4000), "PNG"), 64)).size == (2, 64)
    assert opened(shrink(encode(picture(1000, 4), "PNG"), 64)).size == (64, 1)


def test_a_small_image_is_not_enlarged() -> None:
    assert opened(shrink(encode(picture(28, 28), "PNG"))).size == (28, 28)


def test_it_shows_what_the_image_shows() -> None:
    image = picture()
    shown = np.asarray(opened(shrink(encode(image, "PNG"))).convert("RGB"), float)
    plain = np.asarray(image.resize((SIDE, SIDE * 3 // 4), Image.Resampling.BOX), float)
    assert np.abs(shown - plain).mean() < 6


def test_an_image_that_lies_on_its_side_is_shown_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise: what was left is on top
    shown = np.asarray(opened(shrink(encode(picture(), "JPEG", exif=exif.tobytes()))).convert("RGB"), int)
    assert shown.shape[:2] == (SIDE, SIDE * 3 // 4)
    assert shown[5, :, 0].mean() > 150 > 60 > shown[-5, :, 0].mean()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"<html>not found</html>", "not an image"),
        (encode(picture(), "JPEG")[:2000], "cannot be decoded"),
    ],
)
def test_what_cannot_be_decoded_is_a_grey_tile_that_says_so(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    made = thumbnail(tmp_path, "a.jpg")
    assert made == tile(words)
    assert made.problem == words
    assert words in base64.b64decode(made.uri.partition(",")[2]).decode()


@pytest.mark.parametrize(("path", "words"), [("none.jpg", "no such file"), ("../secret.jpg", "not opened")])
def test_what_is_not_in_the_folder_is_a_grey_tile(tmp_path: Path, path: str, words: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(encode(picture(), "JPEG"))
    (tmp_path / "data").mkdir()
    assert thumbnail(tmp_path / "data", path).problem == words


def test_the_same_bytes_give_the_same_picture() -> None:
    data = encode(picture(), "JPEG")
    assert shrink(data).uri == shrink(data).uri
