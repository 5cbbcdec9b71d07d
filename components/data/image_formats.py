"""Image formats by the suffix of a file's name and by its first bytes: those that are read, and those that are not.

A suffix can be wrong or missing, first bytes cannot: what decides how a file is decoded is `sniff`. The suffix decides
which files are looked into at all, and how a file is named that cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from PIL import features

HEAD = 1024
"""Bytes that `sniff` needs."""

_READ = {
    "AVIF": (".avif", ".avifs"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjpg", ".pjp", ".mpo"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
    "PNG": (".png", ".apng"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
_PARTS_OF_PILLOW = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # which Pillow may have been built without


@dataclass(frozen=True)
class UnreadFormat:
    """A format that is not read."""

    suffixes: tuple[str, ...]
    words: str
    remedy: str


CONVERTED: Mapping[str, tuple[str, ...]] = {"DICOM": (".dcm", ".dicom")}
"""Format -> suffixes, of files from which `sources.CONVERTERS` take an image of another format."""

_AS_IMAGE = "convert it to JPEG or PNG"
UNREAD: Mapping[str, UnreadFormat] = {
    "HEIF": UnreadFormat(
        (".heic", ".heif", ".hif", ".heics", ".heifs"),
        "a HEIC or HEIF image, as phones write them",
        "convert it to JPEG, such as `heif-convert a.heic a.jpg` (libheif); an iPhone writes JPEG with Settings > "
        "Camera > Formats > Most Compatible",
    ),
    "RAW": UnreadFormat(
        (
            ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".rw2", ".rwl", ".raf",
            ".pef", ".srw", ".raw", ".3fr", ".fff", ".iiq", ".mrw", ".x3f", ".erf", ".kdc", ".dcr", ".mos", ".mef",
        ),
        "a camera's raw data",
        "develop it to JPEG or PNG, such as `darktable-cli a.cr2 a.jpg`, or put the camera's own JPEG there instead",
    ),
    "JXL": UnreadFormat((".jxl",), "a JPEG XL image", "convert it to PNG, such as `djxl a.jxl a.png`"),
    "JXR": UnreadFormat((".jxr", ".wdp", ".hdp"), "a JPEG XR image", _AS_IMAGE),
    "JPEGLS": UnreadFormat((".jls",), "a JPEG-LS image", _AS_IMAGE),
    "PSD": UnreadFormat(
        (".psd", ".psb", ".xcf", ".kra", ".afphoto", ".pdn"),
        "a file of an image editor, with layers",
        "export it as PNG from that program",
    ),
    "VECTOR": UnreadFormat(
        (".svg", ".svgz", ".eps", ".ps", ".ai", ".wmf", ".emf", ".cdr"),
        "a vector drawing, which may hold a program",
        "export it as PNG if it shows a lesion, else move it out of the data set's folder",
    ),
    "SLIDE": UnreadFormat(
        (".svs", ".ndpi", ".scn", ".mrxs", ".vsi", ".czi", ".lif", ".nd2", ".oib", ".vms"),
        "a microscope's file",
        "export the region that counts as PNG or TIFF (QuPath, Bio-Formats)",
    ),
    "VOLUME": UnreadFormat(
        (".nii", ".mha", ".mhd", ".nrrd", ".fits", ".fit", ".fts"), "a volume or measurement", "export it as PNG"
    ),
    "OTHER": UnreadFormat(
        (
            ".ico", ".icns", ".cur", ".pcx", ".dcx", ".sgi", ".ras", ".xbm", ".xpm", ".qoi", ".exr", ".hdr", ".dds",
            ".pfm", ".pam", ".flif", ".bpg", ".jng", ".mng", ".ecw", ".wbmp", ".jbig", ".jb2", ".cin", ".dpx", ".djvu",
        ),
        "an image of a rare format",
        _AS_IMAGE,
    ),
}  # fmt: skip
"""Formats that are recognised and not read: each file is named with the remedy."""


@cache
def readable() -> frozenset[str]:
    """Names of the formats that are read with the Pillow that is installed."""
    return frozenset(name for name in _READ if name not in _PARTS_OF_PILLOW or features.check(_PARTS_OF_PILLOW[name]))


@cache
def _by_suffix() -> Mapping[str, str]:
    unread = {suffix: name for name, form in UNREAD.items() for suffix in form.suffixes}
    read = {**_READ, **CONVERTED}
    return unread | {suffix: name for name, suffixes in read.items() for suffix in suffixes}


def format_of_name(path: str) -> str | None:
    """The format that a file's suffix means, readable or not; None for no suffix and for any other."""
    return _by_suffix().get(_split(path)[1].lower())


def image_name(path: str) -> str:
    """The file name without folders and without the suffix of an image format; `1.2.840.5` has none."""
    stem, suffix = _split(path)
    return stem if suffix.lower() in _by_suffix() else stem + suffix


def _split(path: str) -> tuple[str, str]:
    """Stem and suffix of a path's file name, as PurePosixPath has them, in a tenth of the time."""
    name = path.rstrip("/").rpartition("/")[2]
    place = name.rfind(".")
    return (name[:place], name[place:]) if 0 < place < len(name) - 1 else (name, "")


def remedy_of(form: str) -> str:
    """What to do with a file of a format that is not read."""
    return UNREAD[form].remedy if form in UNREAD else f"install Pillow with {form}, or {_AS_IMAGE}"


def describe_unread(form: str) -> str:
    """Words for a file of a format that is not read, `a HEIC or HEIF image ...`."""
    return UNREAD[form].words if form in UNREAD else f"an image of {form}, which this Pillow lacks"


_START = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"MM\0*": "TIFF",
    b"IIRO": "RAW", b"IIRS": "RAW", b"MMOR": "RAW", b"IIU\0": "RAW", b"FUJIFILM": "RAW", b"FOVb": "RAW",
    b"\0MRM": "RAW", b"II\x1a\0\0\0HEAP": "RAW", b"\0\0\0\x0cJXL \r\n\x87\n": "JXL", b"\xff\x0a": "JXL",
    b"II\xbc\x01": "JXR", b"\xff\xd8\xff\xf7": "JPEGLS", b"8BPS": "PSD", b"gimp xcf": "PSD", b"%!PS": "VECTOR",
    b"\xc5\xd0\xd3\xc6": "VECTOR", b"SIMPLE  =": "VOLUME", b"NRRD000": "VOLUME", b"\0\0\1\0": "OTHER", b"DDS ": "OTHER",
    b"v/1\x01": "OTHER", b"qoif": "OTHER", b"\x8aMNG": "OTHER", b"\x8bJNG": "OTHER", b"icns": "OTHER", b"P7\n": "OTHER",
    b"BPG\xfb": "OTHER", b"FLIF": "OTHER", b"AT&TFORM": "OTHER",
}  # fmt: skip
_LENGTHS = tuple(sorted({len(start) for start in _START}, reverse=True))  # the longest start decides
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "RAW"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIF"
)
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes
_PPM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+\s")
_SVG = re.compile(
    rb"^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE[^>]*>|\s)*<svg[\s>]", re.DOTALL | re.ASCII
)


def sniff(head: bytes) -> str | None:
    """The format by the first bytes of a file: a readable one, one of UNREAD, or None for anything else.

    Args:
        head: the first HEAD bytes or more; a file that is shorter, whole.
    """
    head = head[:HEAD]
    if head.startswith(b"II*\0"):
        return "RAW" if head[8:10] == b"CR" else "TIFF"
    if head.startswith(b"RIFF"):
        return "WEBP" if head[8:12] == b"WEBP" else None
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    for length in _LENGTHS:
        if found := _START.get(head[:length]):
            return found
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[128:132] == b"DICM":
        return "DICOM"
    if _PPM.match(head):
        return "PPM"
    if _SVG.match(head):
        return "VECTOR"
    return "TGA" if _is_tga(head) else None


def _by_brand(head: bytes) -> str | None:
    """ISO 14496-12, 4.3: the first of the major and the compatible brands that is an image's; None for films."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    major, others = head[8:12], [head[at : at + 4] for at in range(16, size - 3, 4)]
    if major in (b"mif1", b"msf1"):  # any image in this container: the others say which
        return next((_BRANDS[brand] for brand in others if brand in (b"avif", b"avis")), "HEIF")
    return _BRANDS.get(major)


def _is_tga(head: bytes) -> bool:
    """A TGA has no mark at its start (Truevision TGA 2.0): a header in which every field is possible counts as one."""
    if len(head) < 18:
        return False
    colours, kind, map_depth, depth = head[1], head[2], head[7], head[16]
    width, height = int.from_bytes(head[12:14], "little"), int.from_bytes(head[14:16], "little")
    mapped = kind in (1, 9)
    return (
        colours == int(mapped)
        and kind in (1, 2, 3, 9, 10, 11)
        and map_depth in ((15, 16, 24, 32) if mapped else (0,))
        and depth in ((8,) if mapped or kind in (3, 11) else (16, 24, 32))
        and width > 0
        and height > 0
        and head[17] & 0xC0 == 0
    )
