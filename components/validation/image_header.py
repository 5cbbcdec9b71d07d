"""What an image file states before its pixels are decoded: its size, depth, orientation and kinds of metadata.

Metadata can identify a patient. Only its kind is recorded here, never its content.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image, UnidentifiedImageError

from components.base.errors import UnusableError

Problem = Literal[
    "missing",
    "outside_folder",
    "unreadable",
    "empty",
    "not_an_image",
    "unread_format",
    "corrupt",
    "too_large",
    "wrong_extension",
    "trailing_bytes",
    "animated",
    "cmyk",
    "sixteen_bit",
    "alpha",
    "grey",
]

METADATA_KINDS = ("exif", "gps", "text", "xmp", "iptc")
"""What a file can carry that could identify a patient, in the order in which ImageHeader.identifying names them."""

# What PIL raises for bytes that are no valid image, found by flipping bits in all formats
BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError, AttributeError, OverflowError,
    ZeroDivisionError, RuntimeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip

ORIENTATION, EXIF_IFD, GPS_IFD, THUMBNAIL_IFD = 0x0112, 0x8769, 0x8825, 1
# Tags that say how to display an image and nothing about a person or a date (EXIF 2.32, tables 3 to 8)
_DISPLAY_TAGS = frozenset({256, 257, 258, 259, 262, 274, 277, 282, 283, 284, 296, 531, EXIF_IFD, GPS_IFD})
_DISPLAY_EXIF_TAGS = frozenset({0x9000, 0x9101, 0xA000, 0xA001, 0xA002, 0xA003, 0xA005})
_GPS_VERSION = 0


class UndecodableError(UnusableError[Problem]):
    """The bytes are no complete image: `problem` is one word, the message is the decoder's."""


@dataclass
class ImageHeader:
    """What the blocks of a file state; `end` is None where the format does not define it."""

    format: str  # by content, one of containers.FORMATS
    width: int = 0  # pixels, as stored
    height: int = 0
    mode: str = ""  # PIL's: RGB, L, CMYK, RGBA, I;16, P, ...
    bits: int = 8  # a channel
    frames: int = 1
    orientation: int = 1  # EXIF, 1 to 8
    end: int | None = None  # bytes from the start to the end of the image
    metadata: set[str] = field(default_factory=set)  # of METADATA_KINDS

    @property
    def identifying(self) -> str | None:
        """The kinds of metadata that could identify a patient, joined by commas."""
        return ",".join(kind for kind in METADATA_KINDS if kind in self.metadata) or None


def open_with_pil(form: str, data: bytes) -> tuple[ImageHeader, Image.Image]:
    """Size and mode by PIL, which does not decode pixels yet."""
    try:
        image = Image.open(io.BytesIO(data), formats=[form])
    except UnidentifiedImageError as error:
        raise UndecodableError("corrupt", f"a {form} that stops inside its header") from error
    except Image.DecompressionBombError as error:
        raise UndecodableError("too_large", str(error)) from error
    header = ImageHeader(form, *image.size, image.mode)
    header.bits = {"I;16": 16, "I": 32, "F": 32}.get(image.mode.rstrip("LBN"), 8)
    return header, image


def add_exif_block(header: ImageHeader, block: bytes) -> None:
    """Record the orientation and metadata kinds of a raw EXIF block; one that cannot be read could hold anything."""
    exif = Image.Exif()
    try:
        exif.load(block)
        _add_tags(header, exif)
    except BROKEN:
        header.metadata.add("exif")


def add_exif_of(header: ImageHeader, image: Image.Image) -> None:
    """The same for the EXIF that PIL finds in an opened image."""
    try:
        _add_tags(header, image.getexif())
    except BROKEN:
        header.metadata.add("exif")


def _add_tags(header: ImageHeader, exif: Image.Exif) -> None:
    turn = exif.get(ORIENTATION, 1)
    header.orientation = turn if isinstance(turn, int) and 1 <= turn <= 8 else 1
    private = set(exif) - _DISPLAY_TAGS | set(exif.get_ifd(EXIF_IFD)) - _DISPLAY_EXIF_TAGS
    if private or exif.get_ifd(THUMBNAIL_IFD):  # a thumbnail can show what was cropped away
        header.metadata.add("exif")
    if set(exif.get_ifd(GPS_IFD)) - {_GPS_VERSION}:
        header.metadata.add("gps")


def xmp_kinds(packet: bytes) -> set[str]:
    """The metadata kinds of an XMP packet."""
    return {"xmp", "gps"} if b"GPSL" in packet else {"xmp"}
