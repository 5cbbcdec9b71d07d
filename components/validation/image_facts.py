"""Facts about one image file: a strict decode, then size, colour, brightness, sharpness, vignette and hash.

Each fact is measured at the coarsest resolution that is sufficient. All of a JPEG's coded data is read, so that no
damage is missed, but its cosine blocks are converted to pixels at a half, a quarter or an eighth of the size where that
is enough (the 8 x 8 blocks of ITU-T T.81 allow these sizes); other images are halved by means of 2 x 2 pixels.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from components.data.image_formats import sniff
from components.validation import perceptual_hash
from components.validation.containers import png_chunks, read_header, trailing_bytes
from components.validation.image_header import BROKEN, ImageHeader, Problem, UndecodableError
from components.validation.png_stream import check_rows

Array = np.ndarray[Any, np.dtype[np.uint8]]

SHARPNESS_SIDE = 256  # pixels; the Laplacian's variance is comparable only between images of similar size
SMALL_SIDE = 64  # pixels; sufficient for a 64-bit hash, the border and the mean chroma
DARK, BRIGHT = 5, 250  # luma; clipped pixels, with a margin for JPEG's rounding
BORDER = 40  # luma; a dermoscope's black border is darker, a lesion that touches the edge hardly ever is
UPRIGHT: dict[int, Callable[[Array], Array]] = {  # EXIF 2.32, table 6: what makes the stored image upright
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: image.swapaxes(0, 1)[:, ::-1],
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: image.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True)
class ImageFacts:
    """What one pass over a file measures; None where a problem prevents the measurement.

    Images with the problems from wrong_extension on can be decoded and have all other facts. Of several problems the
    first of `wrong_extension trailing_bytes animated cmyk sixteen_bit alpha grey` is `problem`; `detail` lists all.
    """

    path: str  # POSIX, relative to the data set's folder, as sources.read_bytes takes it
    problem: Problem | None = None  # None: no problem
    detail: str | None = None  # the problem in the decoder's words
    sha256: str | None = None  # of the file's bytes
    bytes: int | None = None
    format: str | None = None  # by content, one of containers.FORMATS; of an unread one, a key of image_formats.UNREAD
    mode: str | None = None  # PIL's: RGB, L, CMYK, RGBA, I;16, P, ...
    frames: int | None = None  # pages or animation frames; a phone's previews do not count
    orientation: int | None = None  # EXIF, 1 to 8; 1 is upright
    width: int | None = None  # pixels, upright
    height: int | None = None
    luma: float | None = None  # mean, in [0, 255]
    dark: float | None = None  # share of luma at most DARK, in [0, 1]
    bright: float | None = None  # share of luma at least BRIGHT, in [0, 1]
    saturation: float | None = None  # mean chroma, max(R, G, B) - min(R, G, B), in [0, 1]
    sharpness: float | None = None  # variance of the Laplacian, shorter side at most SHARPNESS_SIDE
    vignette: float | None = None  # share of luma below BORDER that touches the edge, in [0, 1]
    phash: int | None = None  # perceptual_hash.phash, in [0, 2**64)
    identifying: str | None = None  # METADATA_KINDS that could identify a patient, joined by commas


def decode(data: bytes, colour: Literal["RGB", "GRAY"] = "RGB") -> tuple[str, Array]:
    """The format and the upright pixels of a complete image.

    JPEG is decoded by libjpeg-turbo in strict mode, since PIL accepts truncated and overwritten files silently.

    Returns:
        One of containers.FORMATS, and uint8 (H, W, 3) RGB or (H, W, 1) luma.

    Raises:
        UndecodableError: the bytes are not a complete image.
    """
    header = read_header(data)
    image, _ = _decode(data, header, colour)
    return header.format, np.ascontiguousarray(UPRIGHT[header.orientation](image))


def _decode(data: bytes, header: ImageHeader, colour: Literal["RGB", "GRAY"], factor: int = 1) -> tuple[Array, bool]:
    """Pixels in stored orientation, and True where all are opaque; a JPEG can be shrunk by 1, 2, 4 or 8."""
    try:
        if header.format == "JPEG" and header.mode in ("RGB", "L"):
            least = {"min_height": -(-header.height // factor), "min_width": -(-header.width // factor)}
            return simplejpeg.decode_jpeg(data, colorspace=colour, min_factor=factor, strict=True, **least), True
        if header.mode == "CMYK" and header.format == "JPEG":
            simplejpeg.decode_jpeg(
                data, colorspace="CMYK", strict=True
            )  # strict check only: PIL handles Adobe's inverted CMYK
        return _decode_by_pil(data, header.format, colour)
    except UndecodableError:
        raise
    except Image.DecompressionBombError as error:
        raise UndecodableError("too_large", str(error)) from error
    except BROKEN as error:
        raise UndecodableError("corrupt", str(error) or type(error).__name__) from error


def _decode_by_pil(data: bytes, form: str, colour: Literal["RGB", "GRAY"]) -> tuple[Array, bool]:
    with Image.open(io.BytesIO(data), formats=[form, "MPO"] if form == "JPEG" else [form]) as image:
        image.load()  # strict for these: PNG's own checksums, TIFF's and BMP's lengths
        if form == "PNG":
            check_rows(data, (data[start:stop] for kind, start, stop in png_chunks(data) if kind == b"IDAT"))
        whole: Image.Image = image
        deep = image.mode.startswith("I;16") or (form == "PPM" and image.mode == "I")  # in [0, 65535]
        if image.mode in ("I", "F") and not deep:
            raise UndecodableError(
                "not_an_image", f"mode {image.mode}: measurements of 32 bits, no known black and white"
            )
        if deep:  # convert() would clip 16 bits at 255 instead of scaling them
            whole = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        pixels = np.asarray(whole.convert("L" if colour == "GRAY" else "RGB"))
        opaque = not image.has_transparency_data or image.convert("RGBA").getchannel("A").getextrema() == (255, 255)
    return (pixels[..., None] if colour == "GRAY" else pixels), opaque  # (H, W, 1 or 3)


def read_facts(data: bytes) -> dict[str, Any]:
    """The fields of ImageFacts that depend on the file's bytes alone, by name; never raises for a bad file."""
    known: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    try:
        header = read_header(data)
        image, opaque = _decode(data, header, "RGB", _shrink_factor(header))  # (h, w, 3)
    except UndecodableError as error:
        form = {"format": sniff(data)} if error.problem == "unread_format" else {}
        return known | form | {"problem": error.problem, "detail": str(error)}
    known |= {name: getattr(header, name) for name in ("format", "mode", "frames", "orientation", "identifying")}
    sides = (header.width, header.height) if header.orientation < 5 else (header.height, header.width)
    known |= dict(zip(("width", "height"), sides, strict=True))
    known |= measure(image, header.orientation)
    soft = _soft_problems(data, header, opaque, known["saturation"] == 0 and _is_grey(image))
    return known | {"problem": next(iter(soft), None), "detail": "; ".join(soft.values()) or None}


def _shrink_factor(header: ImageHeader) -> int:
    """1, 2, 4 or 8: the smallest factor that brings the shorter side to SHARPNESS_SIDE or less."""
    side = min(header.width, header.height)
    return next((factor for factor in (1, 2, 4) if -(-side // factor) <= SHARPNESS_SIDE), 8)


def _soft_problems(data: bytes, header: ImageHeader, opaque: bool, grey: bool) -> dict[Problem, str]:
    """Problems of an image that can be decoded, with their details, the most serious first."""
    behind = trailing_bytes(data, header.end)
    found: dict[Problem, tuple[bool, str]] = {
        "trailing_bytes": (behind > 0, f"{behind} bytes after the image's end"),
        "animated": (header.frames > 1, f"{header.frames} frames"),
        "cmyk": (header.mode == "CMYK", "CMYK inks instead of RGB"),
        "sixteen_bit": (header.bits > 8, f"{header.bits} bits a channel"),
        "alpha": (not opaque, "some pixels are not opaque"),
        "grey": (grey, "red, green and blue are equal everywhere"),
    }
    return {problem: words for problem, (here, words) in found.items() if here}


def measure(image: Array, orientation: int = 1) -> dict[str, float | int]:
    """Brightness, colour, sharpness, vignette and hash of an image.

    Args:
        image: (H, W, 3) RGB in stored orientation.
        orientation: EXIF, 1 to 8.

    Returns:
        Fields of ImageFacts by name, with their units.
    """
    middle = _halve(image, SHARPNESS_SIDE)  # (h, w, 3)
    luma = np.asarray(cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY), np.uint8)  # (h, w)
    small, small_luma = _halve(middle, 2 * SMALL_SIDE - 1), _halve(luma, 2 * SMALL_SIDE - 1)
    return {
        "luma": cv2.mean(luma)[0],
        "dark": np.count_nonzero(luma <= DARK) / luma.size,
        "bright": np.count_nonzero(luma >= BRIGHT) / luma.size,
        "saturation": _chroma(small),
        "sharpness": _laplacian_variance(luma),
        "vignette": _border(small_luma),
        "phash": perceptual_hash.phash(np.ascontiguousarray(UPRIGHT[orientation](small_luma))),
    }


def _halve(image: Array, most: int) -> Array:
    """Means of 2 x 2 pixels, repeated while the shorter side exceeds `most`; half a pixel counts as one."""
    side = min(image.shape[:2])
    while side > most:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * height, : 2 * width]  # OpenCV is twenty times as fast where the ratio is exactly 2
        image = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        side = -(-side // 2)  # rounded up as JPEG sizes are, so that both stop at the same size
    return image


def _chroma(image: Array) -> float:
    red, green, blue = cv2.split(image)
    most, least = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return float(cv2.mean(cv2.subtract(most, least))[0] / 255)


def _is_grey(image: Array) -> bool:
    return np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2])


def _border(luma: Array) -> float:
    """Share of the pixels that a flood fill of dark pixels from outside the image reaches."""
    dark = np.pad(luma < BORDER, 1, constant_values=True).astype(np.uint8)  # 1 where dark
    reached, *_ = cv2.floodFill(dark, None, (0, 0), 2)
    return float((reached - 2 * (sum(luma.shape[:2]) + 2)) / luma.size)  # without the padding around the image


def sharpness(luma: Array) -> float:
    """Variance of the Laplacian of (H, W) or (H, W, 1) luma in [0, 255] (Pech-Pacheco et al. 2000); low is blurred.

    Measured after halving has brought the shorter side to SHARPNESS_SIDE or less. A photograph's detail is similar at
    all scales (Field 1987), so the remaining difference in size, at most a factor of 2, matters little.
    """
    return _laplacian_variance(_halve(luma, SHARPNESS_SIDE))


def _laplacian_variance(luma: Array) -> float:
    """Mean square minus squared mean: OpenCV has vectorised both, numpy's var takes ten times as long."""
    edges = cv2.Laplacian(luma, cv2.CV_16S)  # in [-1020, 1020]
    return float(cv2.norm(edges, cv2.NORM_L2SQR) / luma.size - cv2.mean(edges)[0] ** 2)
