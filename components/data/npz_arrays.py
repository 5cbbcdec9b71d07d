"""Images in the arrays of an npz, as DermaMNIST publishes them: a row of an array is an image."""

from __future__ import annotations

import lzma
import struct
import threading
import tokenize
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from components.data.source_error import SourceError

Array = np.ndarray[Any, np.dtype[np.uint8]]

NPZ_ERRORS = (  # what zipfile and numpy raise for damaged bytes; MemoryError for a shape that cannot be right
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    UnicodeError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

_one_array_at_a_time = threading.Lock()  # two threads that unpack the same array would hold it twice


def read_row(file: Path, here: str, inside: str) -> bytes:
    """One image of an array as PNG.

    Args:
        file: the npz.
        here: its path relative to the data set's folder, for messages.
        inside: array and row, `train_images/17` or `train_images/17.png`.

    Raises:
        SourceError: where the npz is damaged, the array holds no images, or it has no such row.
        OSError: where the npz cannot be opened.
    """
    name, _, row = inside.removesuffix(".png").rpartition("/")
    state = file.stat()
    with _one_array_at_a_time:
        images = _images(file.absolute(), name, (state.st_size, state.st_mtime_ns))
    if isinstance(images, SourceError):
        raise SourceError(images.problem, f"{here}: {images}")
    if not (row.isascii() and row.isdigit() and str(int(row)) == row and int(row) < len(images)):
        raise SourceError("missing", f"{here}: {name} has rows 0 to {len(images) - 1}, no {row!r}")
    return encode_png(images[int(row)])


@lru_cache(maxsize=1)
def _images(file: Path, name: str, version: tuple[int, int]) -> Array | SourceError:  # noqa: ARG001  # the cache's key
    """A whole array, (N, H, W) or (N, H, W, 3), or the reason why there is none.

    Whole, since a compressed array cannot be read in part. Only the last one is kept, as the largest of DermaMNIST is
    1.1 GB in memory; when paths are read in sorted order, each array is read once.
    """
    try:
        images = read_array(file, name)
    except SourceError as error:
        return error
    if _are_images(images.shape, images.dtype):
        return images
    found = f"{images.dtype} {images.shape}, expected uint8 (N, H, W) or (N, H, W, 3)"
    return SourceError("unreadable", f"{name!r} holds no images ({found})")


def read_array(file: Path, name: str) -> np.ndarray[Any, Any]:
    """One array of an npz; it is never unpickled, since a pickle can run code.

    Args:
        file: the npz.
        name: of the array, without `.npy`.

    Raises:
        SourceError: where the file is damaged or has no such array; the message lists those that it has.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = [member.removesuffix(".npy") for member in archive.namelist()]
            if name not in names:
                raise SourceError("missing", f"has no array {name!r}, but {names}")
            with archive.open(f"{name}.npy") as member:
                array: np.ndarray[Any, Any] = np.lib.format.read_array(member, allow_pickle=False)
                return array
    except SourceError:
        raise
    except (*NPZ_ERRORS, ValueError) as error:
        raise SourceError("unreadable", f"is not an intact npz ({error or type(error).__name__})") from error


def count_images(file: Path) -> dict[str, int]:
    """Array of an npz -> how many images it holds, 0 where its shape or type is not that of images.

    Only the headers are read, so that a large archive takes no time.

    Raises:
        SourceError: where the file is damaged.
        OSError: where it cannot be opened.
    """
    counts = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                counts[name.removesuffix(".npy")] = 0
                if name.endswith(".npy"):
                    with archive.open(name) as member:
                        shape, kind = _read_npy_header(member)
                    counts[name.removesuffix(".npy")] = shape[0] if _are_images(shape, kind) else 0
    except (*NPZ_ERRORS, ValueError) as error:
        raise SourceError("unreadable", f"is not an intact npz ({error or type(error).__name__})") from error
    return counts


def _read_npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    read = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
    major, _ = np.lib.format.read_magic(member)
    shape, _, kind = read[0 if major == 1 else 1](member)
    return shape, kind


def _are_images(shape: tuple[int, ...], kind: np.dtype[Any]) -> bool:
    return kind == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3))


def encode_png(pixels: Array) -> bytes:
    """uint8 pixels (H, W) grey or (H, W, 3) RGB as a PNG whose bytes depend on no library version.

    Stored, not compressed (PNG 1.2, 3-4, 9): the bytes are hashed and decoded at once, and never written to a file.
    """
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    unfiltered = np.pad(rows, ((0, 0), (1, 0)))  # each row begins with its filter type; 0: none
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    data = zlib.compress(unfiltered.tobytes(), 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
