"""Reading the blocks of GIF, JPEG 2000, AVIF, PPM and TGA files without decoding pixels, as `containers`.

Sources: GIF89a (CompuServe 1990); ISO 15444-1, annexes A (codestream) and I (boxes); ISO 14496-12, 4.2 and AVIF 1.1;
Netpbm's ppm(5); Truevision TGA 2.0.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from components.validation.image_header import (
    ImageHeader,
    UndecodableError,
    add_exif_block,
    add_exif_of,
    open_with_pil,
    xmp_kinds,
)

LOST_BLOCK = bytes(512)  # an encoder writes no such run into coded data; a disk that lost a block does
LOST_BLOCKS = bytes(4096)  # for JPEG 2000, in which a run of zeros can be a run of empty packets


def read_gif(data: bytes) -> ImageHeader:
    """Frames, comments and the end of a GIF."""
    header, _ = open_with_pil("GIF", data)
    header.frames = 0
    at = 13 + _colours(data[10])
    while (kind := data[at]) != 0x3B:
        if kind == 0x2C:
            header.frames += 1
            at = _end_of_blocks(data, at + 11 + _colours(data[at + 9]))
        elif kind == 0x21:
            start, at = at + 2, _end_of_blocks(data, at + 2)
            header.metadata |= _gif_kinds(data[start - 1], data[start:at])
        else:
            raise UndecodableError("corrupt", f"no block at byte {at}")
    if header.frames == 0:
        raise UndecodableError("corrupt", "a GIF without an image")
    header.end = at + 1
    return header


def _colours(flags: int) -> int:
    """Bytes of the colour table that a descriptor's flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _end_of_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _gif_kinds(label: int, blocks: bytes) -> set[str]:
    if label in (0xFE, 0x01):  # a comment, a text to be drawn
        return {"text"}
    if label == 0xFF and blocks[1:12] == b"XMP DataXMP":
        return xmp_kinds(blocks)
    known = label == 0xF9 or blocks[1:12] in (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")
    return set() if known else {"text"}


# --- boxes ------------------------------------------------------------------------------------------------------------


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box; ends before bytes that are no box."""
    at = start
    while at + 8 <= end:
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        size = size or end - at  # 0: to the end of the file
        if size < head or at + size > end or not all(32 <= letter < 127 for letter in kind):
            return
        yield kind, at + head, at + size
        at += size


_UUIDS = {
    bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp",
    b"JpgTiffExif->JP2": "exif",
    bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"): "iptc",
    bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03"): "gps",  # GeoTIFF
}


def read_jpeg2000(data: bytes) -> ImageHeader:
    """Depth, metadata and the end of a JP2 file or a bare codestream."""
    header, _ = open_with_pil("JPEG2000", data)
    if data.startswith(b"\xff\x4f"):
        header.end = _codestream(data, 0, len(data), header)
        return header
    for kind, start, stop in _boxes(data, 0, len(data)):
        if kind == b"jp2c":
            _codestream(data, start, stop, header)
        elif kind == b"uuid":
            _add_uuid(header, data[start:stop])
        elif kind == b"xml ":
            header.metadata |= xmp_kinds(data[start:stop]) if b"xmpmeta" in data[start:stop] else {"text"}
        header.end = stop
    return header


def _add_uuid(header: ImageHeader, body: bytes) -> None:
    kind = _UUIDS.get(body[:16], "text")
    if kind == "exif":
        turned = header.orientation
        add_exif_block(header, body[16:])
        header.orientation = turned  # no reader turns a JPEG 2000
    else:
        header.metadata |= xmp_kinds(body) if kind == "xmp" else {kind}


def _codestream(data: bytes, start: int, stop: int, header: ImageHeader) -> int:
    """Where a codestream ends; reads the depth and comments of its main header (ISO 15444-1, A.4 to A.9)."""
    at = start + 2
    while data[at : at + 2] != b"\xff\x90":
        marker, size = data[at : at + 2], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker[:1] != b"\xff" or size < 2 or at + 2 + size > stop:
            raise UndecodableError("corrupt", "a JPEG2000 that stops inside its header")
        if marker == b"\xff\x51":
            header.bits = max((depth & 0x7F) + 1 for depth in data[at + 40 : at + 2 + size : 3])
        elif marker == b"\xff\x64" and not data[at + 6 :].startswith((b"Created by OpenJPEG", b"Kakadu", b"JasPer")):
            header.metadata.add("text")
        at += 2 + size
    while data[at : at + 2] == b"\xff\x90":
        part = int.from_bytes(data[at + 6 : at + 10], "big")
        at = at + part if part else data.rfind(b"\xff\xd9", at, stop)  # 0: up to the end marker
        if part < 14 and part:
            raise UndecodableError("corrupt", "a JPEG2000 with a tile of no length")
    if at < 0 or at + 2 > stop or data[at : at + 2] != b"\xff\xd9":
        raise UndecodableError("corrupt", "ends before its end marker")
    if LOST_BLOCKS in data[start:at]:
        raise UndecodableError("corrupt", "a run of zeros in its coded data")
    return at + 2


def read_avif(data: bytes) -> ImageHeader:
    """Depth, frames, metadata and the end of an AVIF."""
    boxes = list(_boxes(data, 0, len(data)))
    if not {b"meta", b"moov"} & {kind for kind, _, _ in boxes}:
        raise UndecodableError("corrupt", "an AVIF that stops inside its header")
    header, image = open_with_pil("AVIF", data)
    header.end, header.frames = boxes[-1][2], int(getattr(image, "n_frames", 1))
    for kind, start, stop in boxes:
        if kind == b"mdat" and LOST_BLOCK in data[start:stop]:
            raise UndecodableError("corrupt", "a run of zeros in its coded data")
        if kind in (b"meta", b"moov") and (place := data.find(b"av1C", start, stop)) >= 0:
            deep, twelve = data[place + 6] & 0x40, data[place + 6] & 0x20  # AV1-ISOBMFF, 2.3
            header.bits = (12 if twelve else 10) if deep else 8
    add_exif_of(header, image)
    if packet := image.info.get("xmp"):
        header.metadata |= xmp_kinds(packet)
    return header


# --- formats without blocks -------------------------------------------------------------------------------------------

_PPM_HEADER = re.compile(rb"P([1-6])((?:\s|#[^\n]*\n)+\d+)((?:\s|#[^\n]*\n)+\d+)((?:\s|#[^\n]*\n)+\d+)?")


def read_ppm(data: bytes) -> ImageHeader:
    """Depth, comments and the end of a file of Netpbm."""
    header, _ = open_with_pil("PPM", data)
    found = _PPM_HEADER.match(data)
    if found is None:
        raise UndecodableError("corrupt", "a PPM that stops inside its header")
    kind = int(found[1])
    has_limit = kind not in (1, 4)
    limit = int(found[4].split()[-1]) if has_limit and found[4] else 1
    header.bits = 16 if limit > 255 else 8
    text = found[0] if has_limit else found[0][: found.end(3)]
    header.metadata |= {"text"} if b"#" in text else set()
    if kind >= 4:
        row = (header.width + 7) // 8 if kind == 4 else header.width * (3 if kind == 6 else 1) * header.bits // 8
        header.end = len(text) + 1 + row * header.height
        if header.end > len(data):
            raise UndecodableError("corrupt", f"{len(data)} of {header.end} bytes")
    return header


def read_tga(data: bytes) -> ImageHeader:
    """Metadata and, of an uncompressed one, the end of a TGA."""
    header, _ = open_with_pil("TGA", data)
    id_length, kind, colours, map_depth, depth = data[0], data[2], *struct.unpack_from("<HB", data, 5), data[16]
    header.metadata |= {"text"} if data[18 : 18 + id_length].strip(b"\0 ") else set()
    if kind < 9:  # others are compressed
        header.end = 18 + id_length + colours * -(-map_depth // 8) + header.width * header.height * -(-depth // 8)
        if header.end > len(data):
            raise UndecodableError("corrupt", f"{len(data)} of {header.end} bytes")
    if data[-18:] == b"TRUEVISION-XFILE.\0":
        header.end = len(data)
        extension = int.from_bytes(data[-26:-22], "little")
        # author, comments, date, names of job and program
        header.metadata |= {"text"} if extension and data[extension + 2 : extension + 495 - 69].strip(b"\0 ") else set()
    return header
