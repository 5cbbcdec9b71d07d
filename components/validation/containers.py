"""Reading the blocks of an image file without decoding pixels: size, depth, frames, metadata, and where it ends.

A decoder stops at the end of the image and reports neither bytes after it nor metadata. Both matter: bytes after the
end are another file or a damaged one, and metadata can identify a patient. So the blocks of each format are read here
(JPEG: ITU-T T.81, annex B; PNG: ISO 15948, 5; TIFF 6.0, 2; RIFF as in WebP's container).
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from components.data.image_formats import describe_unread, readable, sniff
from components.validation import further_containers as further
from components.validation.image_header import (
    BROKEN,
    ImageHeader,
    UndecodableError,
    add_exif_block,
    add_exif_of,
    open_with_pil,
    xmp_kinds,
)
from components.validation.tiff_directories import TiffDirectories

# Other formats are never opened: EPS and similar formats run programs, and no camera writes them.
FORMATS = tuple(sorted(readable()))
MAX_PIXELS = 178_956_970  # PIL's own limit for decompression bombs: 0.5 GB of RGB
# JPEG application segments without personal data: JFIF, its thumbnail, colour profile, preview, Adobe's
_DISPLAY_SEGMENTS = (b"JFIF\0", b"JFXX\0", b"ICC_PROFILE\0", b"MPF\0", b"Adobe", b"Ducky")
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in coded data: neither a stuffed zero, a restart nor a fill byte
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})  # T.81, table B.1


def read_header(data: bytes) -> ImageHeader:
    """The header of a whole file.

    Raises:
        UndecodableError: the bytes are none of FORMATS, end inside their blocks, or state more than MAX_PIXELS.
            The problem is `unread_format` where they are an image of another format.
    """
    if not data:
        raise UndecodableError("empty", "0 bytes")
    form = sniff(data)
    if form is None:
        raise UndecodableError("not_an_image", f"none of {', '.join(FORMATS)}")
    if form not in FORMATS:
        raise UndecodableError("unread_format", describe_unread(form))
    try:
        header = _READERS[form](data)
    except UndecodableError:
        raise
    except BROKEN as error:
        raise UndecodableError("corrupt", f"a {form} that stops inside its header ({error})") from error
    if header.width * header.height > MAX_PIXELS:
        raise UndecodableError("too_large", f"{header.width} x {header.height} pixels, expected at most {MAX_PIXELS}")
    return header


def trailing_bytes(data: bytes, end: int | None) -> int:
    """Number of bytes after the image's end; 0 where they are all zero, which is padding."""
    if end is None or end >= len(data):
        return 0
    return len(data) - end if data[end:].strip(b"\0") else 0


# --- JPEG


def _read_jpeg(data: bytes) -> ImageHeader:
    header, exif, previews = ImageHeader("JPEG"), b"", 0
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
            header.metadata |= _segment_kinds(kind, body)
    if not header.mode or header.end is None:
        raise UndecodableError("corrupt", "a JPEG without its frame" if header.end else "ends before its end marker")
    if exif:
        add_exif_block(header, exif)
    if previews:
        header.end = max(header.end, _end_of_previews(data, previews))
    return header


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment's content up to the end of the image; coded data is skipped."""
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
        if kind == 0x01 or 0xD0 <= kind <= 0xD7:  # markers without a segment
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


def _segment_kinds(kind: int, body: bytes) -> set[str]:
    if kind == 0xFE:
        return {"text"}
    if body.startswith(b"Exif\0"):
        return set()  # checked tag by tag
    if body.startswith((b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0")):
        return xmp_kinds(body)
    if body.startswith(b"Photoshop 3.0\0"):
        return {"iptc"} if b"8BIM\x04\x04" in body else set()
    # the content of a manufacturer's own segment is unknown
    return set() if body.startswith(_DISPLAY_SEGMENTS) else {"text"}


def _end_of_previews(data: bytes, base: int) -> int:
    """Where the last image of an MPO ends (CIPA DC-007, 5.2.3): phones append previews and depth maps.

    Their offsets count from `base`, the MPF segment's header; the first image's offset is 0 and is left out.
    """
    with Image.open(io.BytesIO(data), formats=["JPEG", "MPO"]) as image:
        entries: list[dict[str, Any]] = (getattr(image, "mpinfo", None) or {}).get(0xB002, [])
    return max((entry["DataOffset"] + base + entry["Size"] for entry in entries if entry["DataOffset"]), default=0)


# --- formats that PIL opens


def _read_png(data: bytes) -> ImageHeader:
    chunks = list(png_chunks(data))
    header, image = open_with_pil("PNG", data)
    header.bits = data[24]
    header.end = chunks[-1][2]
    header.frames = int(getattr(image, "n_frames", 1))
    for kind, start, stop in chunks:
        header.metadata |= _png_kinds(kind, data[start:stop])
    if "exif" in header.metadata:  # checked tag by tag; PIL reads both the eXIf chunk and ImageMagick's text
        header.metadata.discard("exif")
        image.load()
        add_exif_of(header, image)
    return header


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
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


def _png_kinds(kind: bytes, body: bytes) -> set[str]:
    if kind == b"eXIf":
        return {"exif"}
    if kind not in (b"tEXt", b"zTXt", b"iTXt"):
        return set()
    keyword = body.split(b"\0", 1)[0]
    known = {b"XML:com.adobe.xmp": "xmp", b"Raw profile type xmp": "xmp", b"Raw profile type iptc": "iptc",
             b"Raw profile type exif": "exif", b"Raw profile type APP1": "exif"}  # fmt: skip
    if keyword not in known:
        return {"text"}
    return xmp_kinds(body) if known[keyword] == "xmp" else {known[keyword]}


def _read_webp(data: bytes) -> ImageHeader:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise UndecodableError("corrupt", f"{len(data)} of {end} bytes")
    header, image = open_with_pil("WEBP", data)
    header.end, header.frames = end, int(getattr(image, "n_frames", 1))
    for kind, start, stop in _riff_chunks(data, end):
        if kind == b"EXIF":
            add_exif_block(header, data[start:stop])
        elif kind == b"XMP ":
            header.metadata |= xmp_kinds(data[start:stop])
        elif kind in (b"VP8 ", b"VP8L", b"ANMF") and bytes(512) in data[start:stop]:
            # a lost disk block: the format has no checksum, and no encoder writes such a run
            raise UndecodableError("corrupt", "a run of zeros in its coded data")
    return header


def _riff_chunks(data: bytes, end: int) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    while at + 8 <= end:
        stop = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at + 8, stop
        at = stop + stop % 2  # chunks start at even bytes


def _read_bmp(data: bytes) -> ImageHeader:
    header, _ = open_with_pil("BMP", data)
    pixels = int.from_bytes(data[10:14], "little")
    if int.from_bytes(data[14:18], "little") < 40:  # the header of OS/2, which has no compression
        depth, coded = int.from_bytes(data[24:26], "little"), 0
    else:
        depth, coded = int.from_bytes(data[28:30], "little"), int.from_bytes(data[34:38], "little")
        coded = coded if int.from_bytes(data[30:34], "little") in (1, 2) else 0  # run lengths
    size = coded or (header.width * depth + 31) // 32 * 4 * header.height  # rows are padded to four bytes
    if pixels + size > len(data):
        raise UndecodableError("corrupt", f"{len(data)} of {pixels + size} bytes")
    claimed = int.from_bytes(data[2:6], "little")  # often 0 or wrong: used only where it is larger
    header.end = max(pixels + size, claimed)
    return header


# --- TIFF


def _read_tiff(data: bytes) -> ImageHeader:
    header, image = open_with_pil("TIFF", data)
    bits = image.tag_v2.get(258, (1,))  # type: ignore[attr-defined]  # of TiffImageFile
    header.bits = max(bits) if isinstance(bits, tuple) else int(bits)
    add_exif_of(header, image)
    if data[2:4] in (b"*\0", b"\0*"):  # BigTIFF has another layout: its end stays unknown
        directories = TiffDirectories(data)
        header.end, header.frames = directories.end, directories.pages
        # PIL returns the file's own tags as EXIF: keep its GPS, take the other kinds from the directories
        header.metadata = (header.metadata & {"gps"}) | directories.metadata
    return header


_READERS = {
    "AVIF": further.read_avif,
    "BMP": _read_bmp,
    "GIF": further.read_gif,
    "JPEG": _read_jpeg,
    "JPEG2000": further.read_jpeg2000,
    "PNG": _read_png,
    "PPM": further.read_ppm,
    "TGA": further.read_tga,
    "TIFF": _read_tiff,
    "WEBP": _read_webp,
}
