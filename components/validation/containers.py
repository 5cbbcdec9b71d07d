"""What an image file says of itself before a pixel is decoded: size, depth, frames, metadata, and where it ends.

Decoders stop at the end they find and say nothing of what lies behind it, and they skip metadata. Both matter:
bytes behind the end are another file or a damaged one, and metadata can name a patient. So the blocks of each
format are walked here (JPEG: ITU-T T.81, annex B; PNG: ISO 15948, 5; TIFF 6.0, 2; RIFF as in WebP's container).
Of metadata only its kind is told, never its content.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image, UnidentifiedImageError

from components.base.errors import UnusableError

Problem = Literal[
    "missing",
    "outside_folder",
    "unreadable",
    "empty",
    "not_an_image",
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

# What is opened at all: EPS and its like run programs, and no camera writes them.
FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 178_956_970  # PIL's own limit for decompression bombs: 0.5 GB of RGB
WORDS = ("exif", "gps", "text", "xmp", "iptc")  # the order in which Facts.identifying names them
# What PIL raises for bytes that are no sound image, found by flipping bits in all formats
BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError, AttributeError, OverflowError,
    ZeroDivisionError, RecursionError, MemoryError, struct.error, zlib.error,
)  # fmt: skip

ORIENTATION, EXIF_IFD, GPS_IFD, THUMBNAIL_IFD = 0x0112, 0x8769, 0x8825, 1
# Tags that tell how to show a picture and nothing of who or when (EXIF 2.32, tables 3 to 8)
_PLAIN_TAGS = frozenset({256, 257, 258, 259, 262, 274, 277, 282, 283, 284, 296, 531, EXIF_IFD, GPS_IFD})
_PLAIN_EXIF_TAGS = frozenset({0x9000, 0x9101, 0xA000, 0xA001, 0xA002, 0xA003, 0xA005})
_GPS_VERSION = 0
# TIFF tags that hold words: description, make, model, software, date, artist, host, copyright, names of page or file
_TEXT_TAGS = frozenset({269, 270, 271, 272, 285, 305, 306, 315, 316, 33432})
# JPEG's application segments that hold nothing of who or when: JFIF, its thumbnail, colour profile, preview, Adobe's
_PLAIN_SEGMENTS = (b"JFIF\0", b"JFXX\0", b"ICC_PROFILE\0", b"MPF\0", b"Adobe", b"Ducky")
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in coded data: neither a stuffed zero, a restart nor a fill byte
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})  # T.81, table B.1
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes a value
_MAX_IFDS = 4096  # a chain that is longer is a loop or no picture


class UndecodableError(UnusableError[Problem]):
    """The bytes are no complete image: `problem` in one word, the message in the decoder's."""


@dataclass
class Header:
    """What the blocks of a file say; `end` is None where the format does not tell."""

    format: str  # by content, one of FORMATS
    width: int = 0  # pixels, as stored
    height: int = 0
    mode: str = ""  # PIL's: RGB, L, CMYK, RGBA, I;16, P, ...
    bits: int = 8  # a channel
    frames: int = 1
    orientation: int = 1  # EXIF, 1 to 8
    end: int | None = None  # bytes from the start to the end of the image
    words: set[str] = field(default_factory=set)  # of WORDS

    @property
    def identifying(self) -> str | None:
        """The kinds of metadata that could name a patient, joined by commas."""
        return ",".join(word for word in WORDS if word in self.words) or None


def read_header(data: bytes) -> Header:
    """The header of a whole file; raises UndecodableError for what is none of FORMATS or stops in its blocks."""
    if not data:
        raise UndecodableError("empty", "0 bytes")
    form = _sniff(data)
    if form is None:
        raise UndecodableError("not_an_image", f"none of {', '.join(FORMATS)}")
    try:
        header = _WALKS[form](data)
    except UndecodableError:
        raise
    except BROKEN as error:
        raise UndecodableError("corrupt", f"a {form} that stops inside its header ({error})") from error
    if header.width * header.height > MAX_PIXELS:
        raise UndecodableError("too_large", f"{header.width} x {header.height} pixels, expected at most {MAX_PIXELS}")
    return header


def _sniff(data: bytes) -> str | None:
    """The format that the first bytes promise."""
    if data[8:12] == b"WEBP" and data.startswith(b"RIFF"):
        return "WEBP"
    magics = {
        b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"II*\0": "TIFF", b"MM\0*": "TIFF",
        b"II+\0": "TIFF", b"MM\0+": "TIFF", b"BM": "BMP",
    }  # fmt: skip
    return next((name for magic, name in magics.items() if data.startswith(magic)), None)


def trailing_bytes(data: bytes, end: int | None) -> int:
    """How many bytes lie behind the image's end; zeros alone are padding."""
    if end is None or end >= len(data):
        return 0
    return len(data) - end if data[end:].strip(b"\0") else 0


# --- JPEG


def _read_jpeg(data: bytes) -> Header:
    header, exif, previews = Header("JPEG"), b"", 0
    for kind, start, stop in _segments(data):
        if kind in _FRAMES:
            header.bits, header.height, header.width, channels = struct.unpack_from(">BHHB", data, start)
            header.mode = {1: "L", 3: "RGB", 4: "CMYK"}.get(channels, f"{channels} channels")
        elif kind == 0xD9:
            header.end = stop
        elif kind == 0xFE or 0xE0 <= kind <= 0xEF:
            body = data[start:stop]
            exif = exif or (body if kind == 0xE1 and body.startswith(b"Exif\0") else b"")
            previews = previews or (start + 4 if kind == 0xE2 and body.startswith(b"MPF\0") else 0)
            header.words |= _segment_words(kind, body)
    if not header.mode or header.end is None:
        raise UndecodableError("corrupt", "a JPEG without its frame" if header.end else "ends before its end marker")
    if exif:
        _take_exif(header, exif)
    if previews:
        header.end = max(header.end, _end_of_previews(data, previews))
    return header


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment's content up to the end of the image, coded data skipped."""
    at = 2
    while at + 2 <= len(data):
        if data[at] != 0xFF:
            raise UndecodableError("corrupt", f"no marker at byte {at}")
        kind = data[at + 1]
        if kind == 0xFF:  # a fill byte
            at += 1
            continue
        if kind == 0xD9:
            yield kind, at + 2, at + 2
            return
        if kind == 0x01 or 0xD0 <= kind <= 0xD7:  # stand alone
            at += 2
            continue
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if stop > len(data):
            raise UndecodableError("corrupt", "a JPEG that stops inside its header")
        yield kind, at + 4, stop
        at = stop
        if kind == 0xDA:
            found = _MARKER.search(data, stop)
            at = found.start() if found else len(data)


def _segment_words(kind: int, body: bytes) -> set[str]:
    if kind == 0xFE:
        return {"text"}
    if body.startswith(b"Exif\0"):
        return set()  # judged tag by tag
    if body.startswith((b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0")):
        return _xmp_words(body)
    if body.startswith(b"Photoshop 3.0\0"):
        return {"iptc"} if b"8BIM\x04\x04" in body else set()
    return set() if body.startswith(_PLAIN_SEGMENTS) else {"text"}  # nobody knows what a maker's own segment holds


def _xmp_words(packet: bytes) -> set[str]:
    return {"xmp", "gps"} if b"GPSL" in packet else {"xmp"}


def _end_of_previews(data: bytes, base: int) -> int:
    """Where the last picture of an MPO ends (CIPA DC-007, 5.2.3): phones append previews and depth maps.

    Their places count from `base`, where the MPF segment's header stands; the first picture's is 0 and its own.
    """
    with Image.open(io.BytesIO(data), formats=["JPEG", "MPO"]) as image:
        entries: list[dict[str, Any]] = (getattr(image, "mpinfo", None) or {}).get(0xB002, [])
    return max((entry["DataOffset"] + base + entry["Size"] for entry in entries if entry["DataOffset"]), default=0)


# --- EXIF


def _take_exif(header: Header, block: bytes) -> None:
    """Orientation and words of an EXIF block; one that cannot be read could hold anything."""
    exif = Image.Exif()
    try:
        exif.load(block)
        _take_tags(header, exif)
    except BROKEN:
        header.words.add("exif")


def _take_tags(header: Header, exif: Image.Exif) -> None:
    turn = exif.get(ORIENTATION, 1)
    header.orientation = turn if isinstance(turn, int) and 1 <= turn <= 8 else 1
    told = set(exif) - _PLAIN_TAGS | set(exif.get_ifd(EXIF_IFD)) - _PLAIN_EXIF_TAGS
    if told or exif.get_ifd(THUMBNAIL_IFD):  # a thumbnail can show what was cropped away
        header.words.add("exif")
    if set(exif.get_ifd(GPS_IFD)) - {_GPS_VERSION}:
        header.words.add("gps")


# --- what PIL opens


def _open(form: str, data: bytes) -> tuple[Header, Image.Image]:
    """Size and mode by PIL, which decodes nothing yet."""
    try:
        image = Image.open(io.BytesIO(data), formats=[form])
    except UnidentifiedImageError as error:
        raise UndecodableError("corrupt", f"a {form} that stops inside its header") from error
    except Image.DecompressionBombError as error:
        raise UndecodableError("too_large", str(error)) from error
    header = Header(form, *image.size, image.mode)
    header.bits = {"I;16": 16, "I": 32, "F": 32}.get(image.mode.rstrip("LBN"), 8)
    return header, image


def _exif_of(header: Header, image: Image.Image) -> None:
    try:
        _take_tags(header, image.getexif())
    except BROKEN:
        header.words.add("exif")


def _read_png(data: bytes) -> Header:
    chunks = list(_png_chunks(data))
    header, image = _open("PNG", data)
    header.bits = data[24]
    header.end = chunks[-1][2]
    header.frames = int(getattr(image, "n_frames", 1))
    for kind, start, stop in chunks:
        header.words |= _png_words(kind, data[start:stop])
    if "exif" in header.words:  # judged tag by tag; PIL reads both the eXIf chunk and ImageMagick's text
        header.words.discard("exif")
        image.load()
        _exif_of(header, image)
    return header


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk's content; the last is IEND, whose end is its checksum's."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, start, stop = data[at + 4 : at + 8], at + 8, at + 8 + length
        if stop + 4 > len(data):
            break
        if zlib.crc32(data[at + 4 : stop]) != int.from_bytes(data[stop : stop + 4], "big"):
            raise UndecodableError("corrupt", f"wrong checksum in chunk {kind!r} at byte {at}")
        at = stop + 4
        if kind == b"IEND":
            yield kind, start, at
            return
        yield kind, start, stop
    raise UndecodableError("corrupt", "ends before its end chunk")


def _png_words(kind: bytes, body: bytes) -> set[str]:
    if kind == b"eXIf":
        return {"exif"}
    if kind not in (b"tEXt", b"zTXt", b"iTXt"):
        return set()
    keyword = body.split(b"\0", 1)[0]
    known = {b"XML:com.adobe.xmp": "xmp", b"Raw profile type xmp": "xmp", b"Raw profile type iptc": "iptc",
             b"Raw profile type exif": "exif", b"Raw profile type APP1": "exif"}  # fmt: skip
    if keyword not in known:
        return {"text"}
    return _xmp_words(body) if known[keyword] == "xmp" else {known[keyword]}


def _read_webp(data: bytes) -> Header:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise UndecodableError("corrupt", f"{len(data)} of {end} bytes")
    header, image = _open("WEBP", data)
    header.end, header.frames = end, int(getattr(image, "n_frames", 1))
    for kind, start, stop in _riff_chunks(data, end):
        if kind == b"EXIF":
            _take_exif(header, data[start:stop])
        elif kind == b"XMP ":
            header.words |= _xmp_words(data[start:stop])
        elif kind in (b"VP8 ", b"VP8L", b"ANMF") and bytes(512) in data[start:stop]:
            # a lost disk block: the coder has no checksum and writes no such run
            raise UndecodableError("corrupt", "a run of zeros in its coded data")
    return header


def _riff_chunks(data: bytes, end: int) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    while at + 8 <= end:
        stop = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at + 8, stop
        at = stop + stop % 2  # chunks start at even bytes


def _read_bmp(data: bytes) -> Header:
    header, _ = _open("BMP", data)
    pixels = int.from_bytes(data[10:14], "little")
    if int.from_bytes(data[14:18], "little") < 40:  # the header of OS/2, which has no compression
        depth, coded = int.from_bytes(data[24:26], "little"), 0
    else:
        depth, coded = int.from_bytes(data[28:30], "little"), int.from_bytes(data[34:38], "little")
        coded = coded if int.from_bytes(data[30:34], "little") in (1, 2) else 0  # run lengths
    size = coded or (header.width * depth + 31) // 32 * 4 * header.height  # rows are padded to four bytes
    if pixels + size > len(data):
        raise UndecodableError("corrupt", f"{len(data)} of {pixels + size} bytes")
    claimed = int.from_bytes(data[2:6], "little")  # often 0 or wrong: believed only where it is larger
    header.end = max(pixels + size, claimed)
    return header


# --- TIFF


def _read_tiff(data: bytes) -> Header:
    header, image = _open("TIFF", data)
    bits = image.tag_v2.get(258, (1,))  # type: ignore[attr-defined]  # of TiffImageFile
    header.bits = max(bits) if isinstance(bits, tuple) else int(bits)
    _exif_of(header, image)
    if data[2:4] in (b"*\0", b"\0*"):  # BigTIFF has another layout: its end is not told
        walk = _TiffWalk(data)
        header.end, header.frames = walk.end, walk.pages
        # the tags of the file itself are its EXIF to PIL: only what is beyond layout and words counts as such
        header.words = (header.words & {"gps"}) | walk.words
    return header


class _TiffWalk:
    """The furthest byte that any directory points to, the number of pages, and words."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order: Literal["<", ">"] = "<" if data.startswith(b"II") else ">"
        self.end, self.pages, self.words, self.seen = 8, 0, set[str](), set[int]()
        at: int = struct.unpack_from(f"{self.order}I", data, 4)[0]
        while at and at not in self.seen and len(self.seen) < _MAX_IFDS:
            at = self._directory(at, page=True)

    def _directory(self, at: int, *, page: bool) -> int:
        """Walk one directory; give the place of the next, 0 for none."""
        self.seen.add(at)
        (count,) = struct.unpack_from(f"{self.order}H", self.data, at)
        tags = {}
        for number in range(count):
            tag, kind, length, value = struct.unpack_from(f"{self.order}HHII", self.data, at + 2 + 12 * number)
            size = _TIFF_SIZES.get(kind, 1) * length
            place = value if size > 4 else at + 2 + 12 * number + 8
            self._reach(place + size)
            tags[tag] = (kind, length, place)
        self._follow(tags)
        if page and not self._numbers(tags, 254, (0,))[0] & 0b101:  # bit 0: a thumbnail, bit 2: a mask
            self.pages += 1
        self._reach(at + 2 + 12 * count + 4)
        (following,) = struct.unpack_from(f"{self.order}I", self.data, at + 2 + 12 * count)
        return int(following)

    def _follow(self, tags: dict[int, tuple[int, int, int]]) -> None:
        for places, sizes in ((273, 279), (324, 325), (513, 514)):  # strips, tiles, old JPEG
            for place, size in zip(self._numbers(tags, places), self._numbers(tags, sizes), strict=False):
                self._reach(place + size)
        for tag in (330, EXIF_IFD, GPS_IFD, 0xA005):  # directories within
            for place in self._numbers(tags, tag):
                if place and place not in self.seen and len(self.seen) < _MAX_IFDS:
                    self._directory(place, page=False)
        self.words |= {"text"} if tags.keys() & _TEXT_TAGS else set()
        self.words |= {"exif"} if EXIF_IFD in tags else set()
        self.words |= {"iptc"} if tags.keys() & {33723, 34377} else set()
        if 700 in tags:
            _, length, place = tags[700]
            self.words |= _xmp_words(self.data[place : place + length])

    def _numbers(
        self, tags: dict[int, tuple[int, int, int]], tag: int, default: tuple[int, ...] = ()
    ) -> tuple[int, ...]:
        kind, length, place = tags.get(tag, (0, 0, 0))
        if kind not in (3, 4, 13) or length == 0:
            return default
        letter = "H" if kind == 3 else "I"
        return struct.unpack_from(f"{self.order}{length}{letter}", self.data, place)

    def _reach(self, end: int) -> None:
        self.end = max(self.end, end)


_WALKS = {"BMP": _read_bmp, "JPEG": _read_jpeg, "PNG": _read_png, "TIFF": _read_tiff, "WEBP": _read_webp}
