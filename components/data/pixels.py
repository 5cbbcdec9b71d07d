"""Images decoded and resized once: one uint8 file a split, written as a stream and read as a memory map.

Each image's CRC-32 stands in the index and is compared the first time the image is taken, so that a byte that a
disk or a copy changed stops the run with the image's name instead of becoming part of what is learned.
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
MEND = "make it again with `dvc repro -f pack`"


@dataclass(frozen=True)
class Pixels:
    """Square images of one or several folders, and what is known of each; nothing is read before `take`."""

    parts: tuple[Array, ...]  # memory maps, (N_i, S, S, 3) RGB
    index: pd.DataFrame  # COLUMNS, one row an image
    order: Ints  # (N,) place of each index row in the parts laid end to end
    sound: Flags  # (sum of N_i,) the places whose checksum was compared in this process; shared by all `rows`

    def __len__(self) -> int:
        return len(self.order)

    @property
    def size(self) -> int:
        """The side in pixels."""
        return int(self.parts[0].shape[1])

    def take(self, rows: Ints) -> Array:
        """Copies of the images at `rows`, (B, S, S, 3) uint8 RGB in [0, 255], in the order asked for.

        Raises DataError for an image that is not the one that was written.
        """
        rows = np.asarray(rows, dtype=np.int64)
        places = self.order[rows]  # (B,)
        images = np.empty((len(places), self.size, self.size, 3), dtype=np.uint8)
        start = 0
        for part in self.parts:
            inside = (places >= start) & (places < start + len(part))
            if inside.all():  # straight into place: nothing is copied twice
                np.take(part, places - start, axis=0, out=images, mode="clip")  # other modes copy through a buffer
            elif inside.any():
                images[inside] = np.take(part, places[inside] - start, axis=0)
            start += len(part)
        self._compare(images, rows, places)
        return images

    def _compare(self, images: Array, rows: Ints, places: Ints) -> None:
        """Checksums of those that were never taken before: once a process, because a page that was read stays."""
        fresh = np.flatnonzero(~self.sound[places])
        expected = self.index["crc32"].to_numpy()[rows[fresh]]
        for at, crc32 in zip(fresh, expected, strict=True):
            if zlib.crc32(images[at]) != crc32:
                raise DataError(
                    f"image {self.index['image_id'].iloc[rows[at]]}: its packed pixels have CRC-32 "
                    f"{zlib.crc32(images[at]):08x}, expected {crc32:08x}: they changed since `pack`; {MEND}"
                )
        self.sound[places[fresh]] = True

    def labels(self, classes: Sequence[str]) -> Ints:
        """(N,) index of each image's label in `classes`; an unlabelled image or an unknown label raises."""
        places = pd.Index(list(classes)).get_indexer(pd.Index(self.index["label"]))
        if (places < 0).any():
            row = self.index.iloc[int(np.argmax(places < 0))]
            raise DataError(
                f"image {row.image_id} has label {row.label!r}, expected one of {list(classes)}: "
                f"labels.scheme (params.yaml) changed since these were packed; {MEND}"
            )
        return places.astype(np.int64)

    def rows(self, mask: np.ndarray[Any, Any]) -> Pixels:
        """The images where `mask`, (N,) bool or row numbers, says so; shares the memory maps."""
        return replace(self, index=self.index.iloc[mask].reset_index(drop=True), order=self.order[mask])


def write_pixels(folder: Path, images: Iterable[Array], index: pd.DataFrame, size: int) -> None:
    """Write images.npy, (N, S, S, 3), and index.csv; the folder appears whole or not at all.

    `images` yields N arrays (S, S, 3) uint8 RGB in the order of `index`, which has COLUMNS but crc32; one is in
    memory at a time.
    """
    with whole(folder) as part:
        part.mkdir()
        sums = _write_images(part / "images.npy", images, len(index), size)
        columns = index.assign(crc32=sums)[list(COLUMNS)]
        columns.to_csv(part / "index.csv", index=False, lineterminator="\n")


def _write_images(path: Path, images: Iterable[Array], count: int, size: int) -> Ints:
    """Plain writes instead of a writable memory map: on a full disk those raise, a map kills the process.

    Returns the CRC-32 of each image.
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
    """The images of the folders one after another; shapes, type and counts are checked now, pixels by `take`."""
    parts = tuple(_read_images(folder / "images.npy") for folder in folders)
    indexes = [_read_index(folder / "index.csv", len(part)) for folder, part in zip(folders, parts, strict=True)]
    sizes = [part.shape[1] for part in parts]
    if len(set(sizes)) != 1:
        raise DataError(
            f"{[str(folder) for folder in folders]} hold images of {sizes} pixels, expected one size: {MEND}"
        )
    index = pd.concat(indexes, ignore_index=True)
    order = np.arange(len(index), dtype=np.int64)
    return Pixels(parts, index, order, sound=np.zeros(len(index), dtype=np.bool_))


def _read_images(path: Path) -> Array:
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.parent}: {path.name} cannot be read ({error}): {MEND}") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (images.shape[1], images.shape[1], 3):
        raise DataError(
            f"{path.parent}: {path.name} is {images.dtype} {images.shape}, expected uint8 (N, S, S, 3): {MEND}"
        )
    return images  # type: ignore[no-any-return]  # the decoder is untyped


def _read_index(path: Path, count: int) -> pd.DataFrame:
    try:
        index = pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise DataError(f"{path.parent}: {path.name} cannot be read ({error}): {MEND}") from error
    if tuple(index.columns) != COLUMNS:
        raise DataError(
            f"{path.parent}: {path.name} has columns {list(index.columns)}, expected {list(COLUMNS)}: {MEND}"
        )
    if len(index) != count:
        raise DataError(f"{path.parent}: {path.name} has {len(index)} rows for {count} images: {MEND}")
    sums = pd.to_numeric(index["crc32"], errors="coerce")
    if sums.isna().any():
        name = index["image_id"][sums.isna()].iloc[0]
        raise DataError(f"{path.parent}: {path.name} has no CRC-32 for image {name}: {MEND}")
    return index.assign(crc32=sums.astype(np.int64))


def square(image: Array, size: int, fit: Literal["crop", "pad"]) -> Array:
    """(H, W, 3) as (size, size, 3): the centre square, or the whole image on black. Areas are averaged."""
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
    """INTER_AREA when shrinking, because sampled points would alias hair and scale bars; else linear."""
    if image.shape[:2] == (height, width):
        return image.copy()
    shrinks = height * width < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.uint8)
