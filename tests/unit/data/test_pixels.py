"""The packed pixels: what is read is what was written, and what is broken says so."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.base.errors import DataError
from components.data.pixels import read_pixels, square, write_pixels

RNG = np.random.default_rng(0)


def index_of(*names: str, label: str | None = "mel") -> pd.DataFrame:
    return pd.DataFrame({"image_id": names, "label": label, "lesion_id": "l", "group": names[:1] * len(names)})


def make(folder: Path, *names: str, size: int = 8, label: str | None = "mel") -> np.ndarray:
    images = RNG.integers(0, 256, (len(names), size, size, 3), dtype=np.uint8)
    write_pixels(folder, iter(images), index_of(*names, label=label), size)
    return images


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    images = make(tmp_path / "train", "a", "b", "c")
    pixels = read_pixels(tmp_path / "train")
    assert (len(pixels), pixels.size) == (3, 8)
    np.testing.assert_array_equal(pixels.take(np.array([2, 0, 2])), images[[2, 0, 2]])
    assert pixels.index["image_id"].tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(np.load(tmp_path / "train" / "images.npy"), images)


def test_several_folders_read_as_one(tmp_path: Path) -> None:
    parts = [make(tmp_path / "one", "a", "b"), make(tmp_path / "none"), make(tmp_path / "two", "c", "d")]
    pixels = read_pixels(*(tmp_path / name for name in ("one", "none", "two")))
    together = np.concatenate(parts)
    rows = np.array([3, 0, 2, 1, 3])
    np.testing.assert_array_equal(pixels.take(rows), together[rows])
    some = pixels.rows(np.array([False, True, True, True]))
    np.testing.assert_array_equal(some.rows(np.array([2, 0])).take(np.array([0, 1])), together[[3, 1]])
    assert some.index["image_id"].tolist() == ["b", "c", "d"]


def test_an_empty_split_is_no_error(tmp_path: Path) -> None:
    make(tmp_path / "none", size=16)
    pixels = read_pixels(tmp_path / "none")
    assert (len(pixels), pixels.size, pixels.take(np.array([], int)).shape) == (0, 16, (0, 16, 16, 3))
    assert pixels.labels(["mel"]).shape == (0,)


def test_labels_are_places_in_the_classes(tmp_path: Path) -> None:
    make(tmp_path / "a", "a", "b", label="nv")
    make(tmp_path / "b", "c", label="mel")
    labels = read_pixels(tmp_path / "a", tmp_path / "b").labels(["bcc", "mel", "nv"])
    assert (labels.tolist(), labels.dtype) == ([2, 2, 1], np.int64)


@pytest.mark.parametrize("label, seen", [(None, "nan"), ("scar", "'scar'")])
def test_a_label_outside_the_classes_is_named(tmp_path: Path, label: str | None, seen: str) -> None:
    make(tmp_path / "a", "img_7", label=label)
    with pytest.raises(DataError, match=rf"image img_7 has label {seen}, expected one of \['mel'\]: labels"):
        read_pixels(tmp_path / "a").labels(["mel"])


def test_texts_that_look_missing_stay_texts(tmp_path: Path) -> None:
    make(tmp_path / "a", "NA", "null", label="None")
    assert read_pixels(tmp_path / "a").index[["image_id", "label"]].to_numpy().tolist() == [
        ["NA", "None"],
        ["null", "None"],
    ]


def test_equal_images_give_equal_bytes_and_replace_what_was_there(tmp_path: Path) -> None:
    make(tmp_path / "a", "old", "older")
    images = RNG.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    for name in ("a", "b"):
        write_pixels(tmp_path / name, images, index_of("x"), 8)
    for file in ("images.npy", "index.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_failure_half_way_leaves_the_old_folder(tmp_path: Path) -> None:
    before = make(tmp_path / "a", "x", "y")

    def broken() -> Iterator[np.ndarray]:
        yield before[0]
        raise DataError("the second image is gone")

    with pytest.raises(DataError, match="second image"):
        write_pixels(tmp_path / "a", broken(), index_of("x", "y"), 8)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a").take(np.arange(2)), before)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_images_must_match_their_index(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="1 images for 2 rows"):
        write_pixels(tmp_path / "a", [image], index_of("x", "y"), 8)
    with pytest.raises(ValueError, match="image 1 is uint8"):
        write_pixels(tmp_path / "a", [image[:4]], index_of("x"), 8)
    assert not (tmp_path / "a").exists()


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=rf"{re.escape(str(tmp_path))}/file/a: cannot be written"):
        make(tmp_path / "file" / "a", "x")


def test_a_disk_that_refuses_half_way_leaves_the_old_folder(tmp_path: Path) -> None:
    before = make(tmp_path / "a", "x")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # what a quota or a full disk does
    try:
        with pytest.raises(DataError, match=r"a: cannot be written \(File too large\); free space there"):
            make(tmp_path / "a", *"abcdefgh", size=64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a").take(np.array([0])), before)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_broken_folders_name_themselves_and_the_fix(tmp_path: Path) -> None:
    def match(text: str) -> str:
        return rf"{re.escape(str(tmp_path / 'a'))}: {text}.*dvc repro -f pack"

    with pytest.raises(DataError, match=match("images.npy cannot be read")):
        read_pixels(tmp_path / "a")
    make(tmp_path / "a", "x", "y")
    index = tmp_path / "a" / "index.csv"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(lines[:2]))
    with pytest.raises(DataError, match=match("index.csv has 1 rows for 2 images")):
        read_pixels(tmp_path / "a")
    index.write_text("image_id\nx\ny\n")
    with pytest.raises(DataError, match=match(r"index.csv has columns \['image_id'\]")):
        read_pixels(tmp_path / "a")
    file = tmp_path / "a" / "images.npy"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(DataError, match=match("images.npy cannot be read")):
        read_pixels(tmp_path / "a")
    np.save(file, np.zeros((2, 8, 8, 3), dtype=np.float32))
    with pytest.raises(DataError, match=match("images.npy is float32")):
        read_pixels(tmp_path / "a")


def test_folders_of_different_size_do_not_mix(tmp_path: Path) -> None:
    make(tmp_path / "a", "x", size=8)
    make(tmp_path / "b", "y", size=16)
    with pytest.raises(DataError, match=r"images of \[8, 16\] pixels, expected one size"):
        read_pixels(tmp_path / "a", tmp_path / "b")


def test_crop_takes_the_centre_square_and_averages_areas() -> None:
    image = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    centre = image[:, 10:50].astype(float)
    blocks = centre.reshape(10, 4, 10, 4, 3).mean(axis=(1, 3))  # the mean of each 4 x 4 block
    np.testing.assert_allclose(square(image, 10, "crop"), blocks, atol=0.51)
    np.testing.assert_array_equal(square(image, 40, "crop"), image[:, 10:50])


@pytest.mark.parametrize("turned", [False, True])
def test_pad_keeps_the_whole_image_on_black(turned: bool) -> None:
    image = np.full((30, 60, 3), 200, dtype=np.uint8)
    image[:, :30] = 100
    padded = square(image.swapaxes(0, 1) if turned else image, 20, "pad")
    padded = padded.swapaxes(0, 1) if turned else padded
    assert (padded[:5] == 0).all() and (padded[15:] == 0).all()
    assert (padded[5:15, :10] == 100).all() and (padded[5:15, 10:] == 200).all()


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 500), (7, 5), (33, 32)])
def test_every_shape_becomes_a_square(fit: str, shape: tuple[int, int]) -> None:
    assert square(np.ones((*shape, 3), np.uint8), 32, fit).shape == (32, 32, 3)


def test_growing_a_flat_image_keeps_it_flat() -> None:
    assert (square(np.full((4, 4, 3), 77, np.uint8), 16, "crop") == 77).all()


def flip_a_bit(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def test_a_changed_byte_names_its_image_and_the_fix(tmp_path: Path) -> None:
    make(tmp_path / "one", "a", "b")
    images = make(tmp_path / "two", "c", "img_7", "e")
    file = tmp_path / "two" / "images.npy"
    flip_a_bit(file, len(file.read_bytes()) - 8 * 8 * 3 - 1)  # the last byte of img_7
    pixels = read_pixels(tmp_path / "one", tmp_path / "two")
    np.testing.assert_array_equal(pixels.take(np.array([4, 2])), images[[2, 0]])
    message = r"image img_7: its packed pixels have CRC-32 [0-9a-f]{8}, expected [0-9a-f]{8}.*dvc repro -f pack"
    for part in (pixels, pixels.rows(np.array([0, 3]))):
        with pytest.raises(DataError, match=message):
            part.take(np.arange(len(part)))


def test_a_checksum_is_compared_once_a_process_for_all_readers(tmp_path: Path) -> None:
    make(tmp_path / "a", "x", "y", "z")
    pixels = read_pixels(tmp_path / "a")
    some = pixels.rows(np.array([2, 0]))
    some.take(np.array([1, 1]))
    assert pixels.verified.tolist() == [True, False, False]
    pixels.take(np.array([1]))
    assert some.verified.tolist() == [True, True, False]
    assert not read_pixels(tmp_path / "a").verified.any()


def test_checksums_are_those_of_the_bytes_as_they_lie(tmp_path: Path) -> None:
    images = make(tmp_path / "a", "x", "y")
    turned = RNG.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8).swapaxes(1, 2)  # not contiguous
    write_pixels(tmp_path / "b", turned, index_of("z"), 8)
    sums = pd.read_csv(tmp_path / "a" / "index.csv")["crc32"]
    assert sums.tolist() == [zlib.crc32(image.tobytes()) for image in images]
    np.testing.assert_array_equal(read_pixels(tmp_path / "b").take(np.array([0])), turned)


def test_two_exchanged_images_are_noticed(tmp_path: Path) -> None:
    images = make(tmp_path / "a", "x", "y")
    np.save(tmp_path / "a" / "images.npy", images[::-1])
    with pytest.raises(DataError, match="image x: "):
        read_pixels(tmp_path / "a").take(np.arange(2))


def test_an_index_without_checksums_is_an_error(tmp_path: Path) -> None:
    make(tmp_path / "a", "x", "y")
    index = tmp_path / "a" / "index.csv"
    table = pd.read_csv(index)
    table.astype({"crc32": object}).assign(crc32=["7", "?"]).to_csv(index, index=False)
    with pytest.raises(DataError, match=r"index.csv has no CRC-32 for image y: .*dvc repro -f pack"):
        read_pixels(tmp_path / "a")
    table.drop(columns="crc32").to_csv(index, index=False)
    with pytest.raises(DataError, match=r"has columns \['image_id', 'label', 'lesion_id', 'group'\], expected"):
        read_pixels(tmp_path / "a")


MEASURE = """
import resource, sys
from pathlib import Path
import numpy as np, pandas as pd
from components.data.pixels import read_pixels, write_pixels
count = int(sys.argv[1])
ids = pd.Series(range(count)).map("image {:07d}".format)
index = pd.DataFrame({"image_id": ids, "label": "nv", "lesion_id": ids, "group": ids})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = (np.full((32, 32, 3), number % 251, np.uint8) for number in range(count))
write_pixels(Path(sys.argv[2]), images, index, 32)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_packing_holds_no_images_in_memory(tmp_path: Path, repo: Path) -> None:
    command = [sys.executable, "-c", MEASURE, "40000", str(tmp_path / "packed")]
    grown = int(subprocess.run(command, cwd=repo, check=True, capture_output=True, text=True).stdout)
    assert (tmp_path / "packed" / "images.npy").stat().st_size > 120e6  # bytes
    assert grown < 60  # MiB: text of the index, not 117 MiB of images
