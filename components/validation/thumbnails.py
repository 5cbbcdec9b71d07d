"""Thumbnails for pages: decoded to pixels and encoded again, so that only pixels are kept.

EXIF, GPS, text, colour profile and file name are never passed to the encoder.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components.data.source_error import SourceError
from components.data.sources import read_bytes
from components.report.pictures import data_uri, fit
from components.validation.image_facts import decode
from components.validation.image_header import UndecodableError

SIDE = 192  # pixels of the longer side: sharp on a phone at 96
QUALITY = 72  # of WebP, about 4 kB a picture

# Problem of ImageFacts -> the text on the grey tile.
WORDS = {
    "missing": "no such file",
    "outside_folder": "not opened",
    "unreadable": "cannot be read",
    "empty": "empty file",
    "not_an_image": "not an image",
    "too_large": "too large",
}


@dataclass(frozen=True)
class Thumbnail:
    """An image as a data URI, and the problem where it could not be decoded."""

    uri: str
    problem: str | None = None  # None: the tile is the image itself


def thumbnail(root: Path, path: str, side: int = SIDE) -> Thumbnail:
    """The image at `path` below `root`, or a grey tile with the reason; never raises for a bad file."""
    try:
        return shrink(read_bytes(root, path), side)
    except SourceError as error:
        return tile(WORDS[error.problem], side)


def shrink(data: bytes, side: int = SIDE) -> Thumbnail:
    """An image file's bytes as an upright thumbnail whose longer side is at most `side` pixels."""
    try:
        pixels = decode(data)[1]  # (H, W, 3)
    except UndecodableError as error:
        return tile(WORDS.get(error.problem, "cannot be decoded"), side)
    return Thumbnail(data_uri("webp", _encode(fit(pixels, side))))


def tile(words: str, side: int = SIDE) -> Thumbnail:
    """A grey tile, 4 to 3, with `words` on it: our own text, never text of a file."""
    height = side * 3 // 4
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {height}" width="{side}" height="{height}">'
        f'<rect width="100%" height="100%" fill="#8a939c"/><text x="50%" y="53%" text-anchor="middle" '
        f'font-family="sans-serif" font-size="{side // 11}" fill="#fff">{words}</text></svg>'
    )
    return Thumbnail(data_uri("svg+xml", svg.encode()), words)


def _encode(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=QUALITY, method=4)
    return buffer.getvalue()
