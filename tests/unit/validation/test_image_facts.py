"""Facts about single files, against files that are broken in known ways."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from components.validation.image_facts import decode, measure, read_facts, sharpness
from components.validation.image_header import UndecodableError
from components.validation.perceptual_hash import phash
from tests.unit.validation.image_files import (
    RARE,
    bad_files,
    clean_files,
    encode,
    identifying_files,
    photograph,
    write_bad,
    write_clean,
)
from tests.unit.validation.small_scans import put, run, scan_file


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
    noise = np.random.default_rng(0).integers(0, 256, (600, 500), dtype=np.uint8)
    assert sharpness(cv2.GaussianBlur(noise, (9, 9), 0)) < 0.1 * sharpness(noise)


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
        "page.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unread_format"),
    }
    found = {name: scan_file(tmp_path, put(tmp_path, name, data)).problem for name, (data, _) in files.items()}
    assert found == {name: problem for name, (_, problem) in files.items()}
    assert scan_file(tmp_path, "nowhere.jpg").problem == "missing"


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
    with pytest.raises(UndecodableError) as small:
        decode(bytes(data))
    assert small.value.problem == "corrupt"
    data[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    with pytest.raises(UndecodableError) as large:
        decode(bytes(data))
    assert large.value.problem == "too_large"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "AVIF"])
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


def test_every_bad_file_of_the_corpus_has_its_problem(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    expected = write_bad(root)
    assert len(expected) >= 60
    found = run(root, list(expected)).facts.set_index("path")["problem"]
    assert found.to_dict() == expected


def test_no_clean_image_has_a_problem(tmp_path: Path) -> None:
    names = write_clean(tmp_path)
    facts = run(tmp_path, names).facts
    assert len(facts) == len(names) >= 30
    wrong = facts[facts["problem"].notna()]
    assert wrong.empty, wrong[["path", "problem", "detail"]].to_string()
    known = facts.drop(columns=["problem", "detail", "identifying"])
    assert known.notna().all(axis=None)


def test_an_odd_image_comes_with_all_other_facts(tmp_path: Path) -> None:
    odd = ("wrong_extension", "trailing_bytes", "animated", "cmyk", "sixteen_bit", "alpha", "grey")
    names = [put(tmp_path, name, data) for name, (data, problem) in bad_files().items() if problem in odd]
    facts = run(tmp_path, names).facts
    assert set(facts["problem"]) == set(odd)
    assert facts.drop(columns="identifying").notna().all(axis=None)


def test_of_several_problems_the_most_serious_is_named_and_all_are_listed(tmp_path: Path) -> None:
    grey = encode(photograph().convert("L"), "PNG") + b"Jane Roe"
    facts = scan_file(tmp_path, put(tmp_path, "a.jpg", grey))
    assert facts.problem == "wrong_extension"
    assert facts.detail == "a PNG by content; 8 bytes after the image's end; red, green and blue are equal everywhere"


def test_metadata_is_recorded_by_its_kind_and_never_by_its_content(tmp_path: Path) -> None:
    files = identifying_files()
    found = {name: scan_file(tmp_path, put(tmp_path, name, data)) for name, (data, _) in files.items()}
    assert {name: facts.identifying for name, facts in found.items()} == {
        name: word for name, (_, word) in files.items()
    }
    assert "Jane" not in str(found)
    assert {facts.problem for facts in found.values()} == {None}


def test_a_row_of_an_npz_needs_no_extension(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", train_images=np.stack([np.asarray(photograph(28, seed)) for seed in range(3)]))
    assert scan_file(tmp_path, "many.npz/train_images/2").problem is None


def test_any_flipped_byte_gives_facts_and_never_an_exception() -> None:
    numbers = np.random.default_rng(0)
    files = {name: data for name, data in clean_files().items() if len(data) < 20_000}
    assert len(files) >= 20
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's, about metadata
        for data in files.values():
            for place in [*numbers.integers(0, len(data), 40), *range(0, min(len(data), 240), 3)]:
                broken = bytearray(data)
                broken[place] ^= int(numbers.integers(1, 256))
                read_facts(bytes(broken))
                read_facts(bytes(broken[: numbers.integers(0, len(data))]))


def test_every_flipped_byte_of_a_png_is_noticed() -> None:
    data = encode(photograph(), "PNG")
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 0x10
        assert read_facts(bytes(broken))["problem"] is not None, place


def test_exposure_and_saturation_are_those_of_known_pixels() -> None:
    image = np.full((60, 40, 3), (200, 100, 50), np.uint8)
    image[:15] = 0
    image[15:21] = 255
    facts = measure(image)
    assert (facts["dark"], facts["bright"]) == (0.25, 0.1)
    assert facts["saturation"] == pytest.approx(150 / 255 * 39 / 60, abs=1e-6)
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50  # BT.601
    assert facts["luma"] == pytest.approx((luma * 39 + 255 * 6) / 60, abs=0.5)


def test_facts_hardly_depend_on_the_resolution() -> None:
    large = np.asarray(photograph(1024))
    small = np.asarray(photograph(1024).resize((260, 256), Image.Resampling.BOX))
    one, other = measure(large), measure(small)
    for name in ("luma", "saturation", "dark", "bright", "vignette"):
        assert one[name] == pytest.approx(other[name], rel=0.03, abs=0.02), name
    assert bin(int(one["phash"]) ^ int(other["phash"])).count("1") <= 4


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("side", [256, 257, 450, 1025, 2100])
def test_a_jpeg_shrunk_in_its_cosines_has_the_facts_of_all_its_pixels(side: int, subsampling: int) -> None:
    texture = np.random.default_rng(0).normal(0, 20, (side, side + 16, 1))
    picture = np.clip(np.asarray(photograph(side), float) + texture, 0, 255).astype(np.uint8)
    data = encode(Image.fromarray(picture), "JPEG", quality=92, subsampling=subsampling)
    facts, whole = read_facts(data), measure(decode(data)[1])
    assert (facts["height"], facts["width"]) == picture.shape[:2]
    assert facts["sharpness"] == pytest.approx(whole["sharpness"], rel=0.15)
    for name in ("luma", "saturation", "dark", "bright", "vignette"):
        assert facts[name] == pytest.approx(whole[name], rel=0.03, abs=0.01), name
    assert bin(int(facts["phash"]) ^ int(whole["phash"])).count("1") <= 2


def test_a_vignette_is_the_darkness_that_touches_the_edge() -> None:
    height, width = 450, 600
    rows, columns = np.mgrid[:height, :width]
    outside = (rows - 225) ** 2 + (columns - 300) ** 2 > 260**2
    lesion = (rows - 225) ** 2 + (columns - 300) ** 2 < 60**2
    image = np.full((height, width, 3), (200, 140, 120), np.uint8)
    image[lesion] = 5
    assert measure(image)["vignette"] == 0
    image[outside] = 5
    assert measure(image)["vignette"] == pytest.approx(outside.mean(), abs=0.01)
    assert measure(np.zeros_like(image))["vignette"] == 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_hash_and_the_size_are_those_of_the_upright_image(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photograph(), "PNG", exif=exif)
    facts = scan_file(tmp_path, put(tmp_path, "a.png", data))
    upright = decode(data)[1]
    assert (facts.orientation, facts.height, facts.width) == (orientation, *upright.shape[:2])
    assert facts.phash == phash(cv2.cvtColor(upright, cv2.COLOR_RGB2GRAY))


@pytest.mark.parametrize(("suffix", "form"), RARE.items())
def test_rare_formats_have_the_pixels_that_pil_reads(suffix: str, form: str) -> None:
    data = encode(photograph(), form)
    name, pixels = decode(data)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(pixels, np.asarray(image.convert("RGB")))
    assert (name, pixels.shape) == (RARE[suffix], (64, 80, 3))


def test_the_first_frame_of_a_gif_is_its_picture() -> None:
    pages = [Image.new("RGB", (30, 20), colour) for colour in ((200, 10, 10), (10, 200, 10))]
    assert decode(encode(pages[0], "GIF", save_all=True, append_images=pages[1:]))[1][5, 5].tolist() == [200, 10, 10]


def test_deep_grey_of_netpbm_is_scaled_and_not_clipped() -> None:
    levels = np.array([0, 257 * 100, 257 * 255], ">u2")
    assert decode(b"P5\n3 1\n65535\n" + levels.tobytes())[1][0, :, 0].tolist() == [0, 100, 255]
