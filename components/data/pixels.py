"""Packed images, decoded and resized once: one uint8 file a split, written as a stream and read as a memory map.

The CRC-32 of each image is in the index and is compared when the image is first read, so that a byte changed by a disk
or a copy stops the run with the id of the image and never enters training.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd

from components.base.errors import DataError
from components.base.files import whole

Array = np.ndarray[Any, np.dtype[np.uint8]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

COLUMNS = ("image_id", "label", "lesion_id", "group", "crc32")
FIX = "make it again with `dvc repro -f pack`"


@dataclass(frozen=True)
class Pixels:
    """Square images of one or several folders and their index; no image is read before `take`."""

    parts: tuple[Array, ...]  # memory maps, (N_i, S, S, 3) RGB
    index: pd.DataFrame  # COLUMNS, one row an image
    order: Ints  # (N,) position of each index row in the concatenated parts
    verified: Flags  # (sum of N_i,) True where the checksum was compared in this process; shared by all `rows`

    def __len__(self) -> int:
        return len(self.order)

    @property
    def size(self) -> int:
        """Side of the images, pixels."""
        return int(self.parts[0].shape[1])

    def take(self, rows: Ints) -> Array:
        """Copies of some images.

        Args:
            rows: (B,) row numbers of the index, in any order.

        Returns:
            (B, S, S, 3) uint8 RGB in [0, 255], in the order of `rows`.

        Raises:
            DataError: where an image differs from what was written.
        """
        rows = np.asarray(rows, dtype=np.int64)
        places = self.order[rows]  # (B,)
        images = np.empty((len(places), self.size, self.size, 3), dtype=np.uint8)
        start = 0
        for part in self.parts:
            inside = (places >= start) & (places < start + len(part))
            if inside.all():  # all in one part: written directly into `images`
                np.take(part, places - start, axis=0, out=images, mode="clip")  # other modes copy through a buffer
            elif inside.any():
                images[inside] = np.take(part, places[inside] - start, axis=0)
            start += len(part)
        self._compare(images, rows, places)
        return images

    def _compare(self, images: Array, rows: Ints, places: Ints) -> None:
        """Compare checksums of images read for the first time in this process; the page then stays in memory."""
        fresh = np.flatnonzero(~self.verified[places])
        expected = self.index["crc32"].to_numpy()[rows[fresh]]
        for at, crc32 in zip(fresh, expected, strict=True):
            if zlib.crc32(images[at]) != crc32:
                raise DataError(
                    f"image {self.index['image_id'].iloc[rows[at]]}: its packed pixels have CRC-32 "
                    f"{zlib.crc32(images[at]):08x}, expected {crc32:08x}: they changed since `pack`; {FIX}"
                )
        self.verified[places[fresh]] = True

    def labels(self, classes: Sequence[str]) -> Ints:
        """(N,) index of each image's label in `classes`.

        Raises:
            DataError: where an image has no label or a label that is not in `classes`.
        """
        places = pd.Index(list(classes)).get_indexer(pd.Index(self.index["label"]))
        if (places < 0).any():
            row = self.index.iloc[int(np.argmax(places < 0))]
            raise DataError(
                f"image {row.image_id} has label {row.label!r}, expected one of {list(classes)}: "
                f"labels.scheme (params.yaml) changed since these were packed; {FIX}"
            )
        return places.astype(np.int64)

    def rows(self, mask: np.ndarray[Any, Any]) -> Pixels:
        """Some of the images, with the same memory maps; `mask` is (N,) bool or row numbers."""
        return replace(self, index=self.index.iloc[mask].reset_index(drop=True), order=self.order[mask])


def write_pixels(folder: Path, images: Iterable[Array], index: pd.DataFrame, size: int) -> None:
    """Write images.npy, (N, S, S, 3), and index.csv into a folder, atomically.

    Args:
        folder: is replaced where it exists.
        images: N arrays (S, S, 3) uint8 RGB in the order of `index`; one is in memory at a time.
        index: one row an image, with COLUMNS but crc32.
        size: the side S, pixels.

    Raises:
        ValueError: where an image has another shape or type, or their number differs from the rows of `index`.
        DataError: where the disk is full or not writable.
    """
    with whole(folder) as part:
        part.mkdir()
        sums = _write_images(part / "images.npy", images, len(index), size)
        columns = index.assign(crc32=sums)[list(COLUMNS)]
        columns.to_csv(part / "index.csv", index=False, lineterminator="\n")


def _write_images(path: Path, images: Iterable[Array], count: int, size: int) -> Ints:
    """The CRC-32 of each image, (N,), after it was written.

    Plain writes, since on a full disk they raise, while a writable memory map kills the process.
    """
    sums, written = np.zeros(count, dtype=np.int64), 0
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for written, image in enumerate(images, start=1):
            if image.shape != (size, size, 3) or image.dtype != np.uint8:
                raise ValueError(f"image {written} is {image.dtype} {image.shape}, expected uint8 {(size, size, 3)}")
            data = np.ascontiguousarray(image).data
            file.write(data)
            if written <= count:
                sums[written - 1] = zlib.crc32(data)
    if written != count:
        raise ValueError(f"{written} images for {count} rows of the index")
    return sums


def read_pixels(*folders: Path) -> Pixels:
    """The packed images of some folders, concatenated.

    Raises:
        DataError: where a file is missing or has another shape, type or number of rows, or the folders differ in image
            size. Checksums are compared by `take`.
    """
    parts = tuple(_read_images(folder / "images.npy") for folder in folders)
    indexes = [_read_index(folder / "index.csv", len(part)) for folder, part in zip(folders, parts, strict=True)]
    sizes = [part.shape[1] for part in parts]
    if len(set(sizes)) != 1:
        raise DataError(
            f"{[str(folder) for folder in folders]} hold images of {sizes} pixels, expected one size: {FIX}"
        )
    index = pd.concat(indexes, ignore_index=True)
    order = np.arange(len(index), dtype=np.int64)
    return Pixels(parts, index, order, verified=np.zeros(len(index), dtype=np.bool_))


def _read_images(path: Path) -> Array:
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.parent}: {path.name} cannot be read ({error}): {FIX}") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (images.shape[1], images.shape[1], 3):
        raise DataError(
            f"{path.parent}: {path.name} is {images.dtype} {images.shape}, expected uint8 (N, S, S, 3): {FIX}"
        )
    return images  # type: ignore[no-any-return]  # the decoder is untyped


def _read_index(path: Path, count: int) -> pd.DataFrame:
    try:
        index = pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise DataError(f"{path.parent}: {path.name} cannot be read ({error}): {FIX}") from error
    if tuple(index.columns) != COLUMNS:
        raise DataError(
            f"{path.parent}: {path.name} has columns {list(index.columns)}, expected {list(COLUMNS)}: {FIX}"
        )
    if len(index) != count:
        raise DataError(f"{path.parent}: {path.name} has {len(index)} rows for {count} images: {FIX}")
    sums = pd.to_numeric(index["crc32"], errors="coerce")
    if sums.isna().any():
        name = index["image_id"][sums.isna()].iloc[0]
        raise DataError(f"{path.parent}: {path.name} has no CRC-32 for image {name}: {FIX}")
    return index.assign(crc32=sums.astype(np.int64))


def square(image: Array, size: int, fit: Literal["crop", "pad"]) -> Array:
    """A square image from one of any shape.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: side of the result, pixels.
        fit: crop: the centre square; pad: the whole image on black.

    Returns:
        (size, size, 3) uint8 RGB; pixels are area averages where the image shrinks.
    """
    height, width = image.shape[:2]
    side = min(height, width) if fit == "crop" else max(height, width)
    if fit == "crop":
        top, left = (height - side) // 2, (width - side) // 2
        return _resize(image[top : top + side, left : left + side], size, size)
    high, wide = (max(1, round(length * size / side)) for length in (height, width))
    canvas = np.zeros((size, size, 3), dtype=np.uint8)
    top, left = (size - high) // 2, (size - wide) // 2
    canvas[top : top + high, left : left + wide] = _resize(image, high, wide)
    return canvas


def _resize(image: Array, height: int, width: int) -> Array:
    """Area averages when shrinking, since point samples would alias hair and scale bars; otherwise linear."""
    if image.shape[:2] == (height, width):
        return image.copy()
    shrinks = height * width < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.uint8)
