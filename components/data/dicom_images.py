"""The image in a DICOM file as JPEG, JPEG 2000 or PNG, and chosen attributes of it: nothing else of the file is read.

Pixels that are stored as JPEG (baseline, 8 bits) or JPEG 2000 are handed out as these bytes; uncompressed and RLE ones
become a PNG. What would need a decision about grey levels or colours is refused, with the command that makes it.
Private attributes are never read (DICOM PS3.5, 7.8).
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from components.data.npz_arrays import encode_png
from components.data.source_error import SourceError

if TYPE_CHECKING:
    from types import ModuleType

    from pydicom import Dataset

JPEG = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})  # baseline, extended
JPEG2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
UNCOMPRESSED = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})
RLE = "1.2.840.10008.1.2.5"

PIXEL_ATTRIBUTES = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
)  # fmt: skip

DICOM_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom raises for damaged files, besides errors of its own."""

_one_at_a_time = threading.RLock()  # warnings can be switched off for a whole process only


def convert(data: bytes, path: str) -> bytes:
    """The only image of a DICOM file.

    Args:
        data: the whole file.
        path: relative to the data set's folder, for messages.

    Raises:
        SourceError: where it holds no image, several frames, or one that is not read.
    """
    dataset = _read_pixels(data, path)
    frames = _frames(dataset)
    if frames > 1:
        raise SourceError(
            "unreadable",
            f"{path} has {frames} frames; name the one that counts by its path in a .dcm, such as {path}/1, or write "
            "it as PNG, such as `dcmj2pnm +F 1 +on a.dcm a.png`",
        )
    return _encode(dataset, 1, path)


def read_frame(file: Path, here: str, inside: str) -> bytes:
    """One frame of a DICOM file with several.

    Args:
        file: the DICOM file.
        here: its path relative to the data set's folder, for messages.
        inside: number of the frame, from 1 on, as DICOM counts.

    Raises:
        SourceError: as `convert`, and where there is no such frame.
        OSError: where the file cannot be opened.
    """
    dataset = _read_pixels(file.read_bytes(), here)
    frames = _frames(dataset)
    if not (inside.isascii() and inside.isdigit() and 1 <= int(inside) <= frames):
        raise SourceError("missing", f"{here} has frames 1 to {frames}, no {inside!r}")
    return _encode(dataset, int(inside), here)


def read_attributes(stream: BinaryIO, keywords: Sequence[str]) -> dict[str, str]:
    """Some attributes of a DICOM file as text, those that it has.

    Args:
        stream: of the file; pixels are not read.
        keywords: DICOM keywords; `AnatomicRegionSequence.CodeMeaning` is an attribute of the first item of a sequence.

    Raises:
        SourceError: where the file is damaged or no DICOM file.
    """
    first = sorted({keyword.partition(".")[0] for keyword in keywords})
    with _quiet("the file"):
        dataset = _pydicom().dcmread(stream, stop_before_pixels=True, specific_tags=first)
        found = {keyword: _text(dataset, keyword) for keyword in keywords}
    return {keyword: text for keyword, text in found.items() if text}


def is_keyword(name: str) -> bool:
    """Whether each part of a name is a keyword of the DICOM standard; private attributes have none."""
    return all(part and _pydicom().datadict.tag_for_keyword(part) is not None for part in name.split("."))


def is_of_images(sop_class: str | None) -> bool:
    """Whether files of a SOP class hold images, as far as the standard names it; those of an unknown class may."""
    uid = _pydicom().uid.UID(sop_class or "")
    return uid.type != "SOP Class" or "Image" in uid.name


@cache
def _pydicom() -> ModuleType:
    """Without checks of values, whose messages would contain them."""
    import pydicom

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    return pydicom


@contextmanager
def _quiet(path: str) -> Iterator[None]:
    """One reading: pydicom's warnings contain values of the file, and its errors are SourceErrors."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except SourceError:
            raise
        except _pydicom().errors.InvalidDicomError as error:
            raise SourceError(
                "unreadable", f"{path} is no DICOM file: it lacks DICM at byte 128; write it again with `dcmconv +f`"
            ) from error
        except (*DICOM_ERRORS, OSError, _pydicom().errors.BytesLengthException) as error:
            raise SourceError(
                "unreadable", f"{path} is a damaged DICOM file ({type(error).__name__}); export it again"
            ) from error


def _text(dataset: Dataset, keyword: str) -> str:
    value: Any = dataset
    for part in keyword.split("."):
        if isinstance(value, _pydicom().Sequence):
            value = value[0] if value else None
        value = value.get(part) if value is not None else None
    if isinstance(value, _pydicom().Sequence) or value is None:
        return ""
    several = isinstance(value, _pydicom().multival.MultiValue)
    return "; ".join(str(each).strip() for each in value) if several else str(value).strip()


# --- pixels -----------------------------------------------------------------------------------------------------------


def _read_pixels(data: bytes, path: str) -> Dataset:
    with _quiet(path):
        dataset: Dataset = _pydicom().dcmread(io.BytesIO(data), specific_tags=list(PIXEL_ATTRIBUTES))
        if "PixelData" not in dataset:
            raise SourceError("unreadable", f"{path} is a DICOM file without an image, such as a report; take it out")
        return dataset


def _frames(dataset: Dataset) -> int:
    try:
        return max(int(dataset.get("NumberOfFrames") or 1), 1)
    except (TypeError, ValueError):
        return 1


def _encode(dataset: Dataset, frame: int, path: str) -> bytes:
    with _quiet(path):
        syntax = str(dataset.file_meta.TransferSyntaxUID)
        _refuse_bits(dataset, path)
        if syntax in JPEG:
            return _jpeg(_fragment(dataset, frame), str(dataset.PhotometricInterpretation), path)
        if syntax in JPEG2000:
            return _jpeg2000(_fragment(dataset, frame), str(dataset.PhotometricInterpretation), path)
        if syntax in UNCOMPRESSED or syntax == RLE:
            return encode_png(_pixels(dataset, frame, path))
        raise SourceError("unreadable", f"{path}: {_remedy(syntax)}")


def _remedy(syntax: str) -> str:
    uid = _pydicom().uid.UID(syntax)
    name = uid.name if uid.is_transfer_syntax else syntax
    if "JPEG-LS" in name:
        command = "`dcmdjpls a.dcm b.dcm`"
    elif "JPEG" in name and not {"2000", "XL"} & set(name.replace("-", " ").split()):
        command = "`dcmdjpeg a.dcm b.dcm`"
    else:
        command = "`gdcmconv --raw a.dcm b.dcm`, or an export as JPEG 2000 or uncompressed"
    return f"the transfer syntax {name} is not read; decompress it with {command}"


def _refuse_bits(dataset: Dataset, path: str) -> None:
    stored, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation") or 0)
    if stored < 8:
        raise SourceError(
            "unreadable",
            f"{path} has {stored} bits a sample, expected 8; such files are masks or drawings: take it out",
        )
    if stored != 8 or signed:
        raise SourceError(
            "unreadable",
            f"{path} has {stored}{' signed' if signed else ''} bits a sample, expected 8; which grey levels are shown "
            "is a decision: make it with `dcmj2pnm +Wm +on a.dcm a.png` (window) or `+Wn` (from least to largest)",
        )


def _fragment(dataset: Dataset, frame: int) -> bytes:
    """The encoded frame without DICOM's padding to an even length."""
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    data: bytes = _pydicom().encaps.get_frame(
        dataset.PixelData, frame - 1, number_of_frames=_frames(dataset), extended_offsets=offsets
    )
    stripped = data.rstrip(b"\0")
    return stripped if stripped.endswith(b"\xff\xd9") else data  # both formats end with this mark


def _jpeg(data: bytes, colours: str, path: str) -> bytes:
    """A JPEG that a decoder shows in the colours which the file states."""
    if not data.startswith(b"\xff\xd8\xff"):
        raise SourceError("unreadable", f"{path} states JPEG, but holds none; export it again")
    decoded = _colours_of_jpeg(data)
    stated = "YBR" if colours in ("YBR_FULL", "YBR_FULL_422") else "GREY" if colours == "MONOCHROME2" else colours
    if decoded == stated:
        return data
    raise SourceError(
        "unreadable",
        f"{path} states the colours {colours}, but a decoder takes its JPEG for {decoded}, so that its colours are not "
        "certain; find out which is right and write it uncompressed (`dcmdjpeg`)",
    )


def _colours_of_jpeg(data: bytes) -> str:
    """RGB, YBR or GREY, as libjpeg takes it (jdapimin.c, default_decompress_parms)."""
    adobe, jfif, at = None, False, 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == 0xFF or kind == 0x01:
            at += 1 if kind == 0xFF else 2
            continue
        body = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        if kind == 0xE0 and body.startswith(b"JFIF\0"):
            jfif = True
        elif kind == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            components = body[5] if len(body) > 5 else 0
            if components == 1:
                return "GREY"
            if components != 3:
                return f"{components} channels"
            if jfif or adobe is not None:
                return "RGB" if adobe == 0 and not jfif else "YBR"
            return "RGB" if body[6::3] == b"RGB" else "YBR"
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return "no image"


def _jpeg2000(data: bytes, colours: str, path: str) -> bytes:
    """A codestream states its own colour transform, so that decoders give RGB or grey."""
    if colours not in ("RGB", "YBR_RCT", "YBR_ICT", "MONOCHROME2"):
        raise SourceError(
            "unreadable",
            f"{path} states the colours {colours}, which its JPEG 2000 does not state, so that a decoder would show "
            "others; write it uncompressed (`gdcmconv --raw a.dcm b.dcm`)",
        )
    if not data.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
        raise SourceError("unreadable", f"{path} states JPEG 2000, but holds none; export it again")
    return data


def _pixels(dataset: Dataset, frame: int, path: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(H, W) or (H, W, 3) uint8 of an uncompressed or RLE frame; white is 255, colours are RGB."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    colours = str(dataset.PhotometricInterpretation)
    if colours not in ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR"):
        raise SourceError(
            "unreadable", f"{path} has the colours {colours}, which are not read; write it as PNG with `dcmj2pnm +on`"
        )
    pixels = pixel_array(dataset, index=frame - 1)  # YBR becomes RGB
    if colours == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        pixels = pixels >> 8 if pixels.dtype == np.uint16 else pixels  # PS3.3, C.7.6.3.1.6: 16 bits a colour
    if pixels.dtype != np.uint8:  # 8 bits stored in 16
        pixels = pixels & 0xFF
    return np.asarray(255 - pixels if colours == "MONOCHROME1" else pixels, np.uint8)
