"""From the bytes of an image file to facts about it: one strict pass a file, spread over any Executor."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from PIL import Image, UnidentifiedImageError

Array = np.ndarray[Any, np.dtype[np.uint8]]
Problem = Literal[
    "missing",
    "outside_folder",
    "unreadable",
    "empty",
    "not_an_image",
    "corrupt",
    "too_large",
    "wrong_extension",
]
Track = Callable[[Iterable["Facts"], int, str], Iterable["Facts"]]

# What is opened at all: EPS and its like run programs, and no camera writes them.
FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
SUFFIXES = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
MAX_PIXELS = 178_956_970  # PIL's own limit for decompression bombs: 0.5 GB of RGB
SHARPNESS_SIDE = 256  # pixels; a Laplacian is comparable between images of like size alone
ORIENTATION = 0x0112  # the EXIF tag
TURNS: dict[int, Callable[[Array], Array]] = {  # EXIF 2.32, table 6: what makes each stored image upright
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
class Facts:
    """What one pass over a file tells; whatever a problem keeps from being known is None."""

    path: str  # POSIX, relative to the data set's folder
    problem: Problem | None = None  # None: decodes completely
    detail: str | None = None  # the problem in the decoder's words
    sha256: str | None = None  # of the file's bytes
    bytes: int | None = None
    format: str | None = None  # by content, one of FORMATS
    width: int | None = None  # pixels, upright
    height: int | None = None
    luma: float | None = None  # mean, in [0, 255]
    sharpness: float | None = None  # variance of the Laplacian, shorter side at most SHARPNESS_SIDE


class UndecodableError(ValueError):
    """The bytes are no complete image: `problem` in one word, the message in the decoder's."""

    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem


def decode(data: bytes, colour: Literal["RGB", "GRAY"] = "RGB") -> tuple[str, Array]:
    """Format and upright pixels, (H, W, 3) RGB or (H, W, 1) luma, of a whole image; anything less raises.

    JPEG goes through libjpeg-turbo in strict mode: PIL passes truncated and overwritten files in silence.
    Raises UndecodableError.
    """
    form, size, mode, orientation = _header(data)
    if size[0] * size[1] > MAX_PIXELS:
        raise UndecodableError("too_large", f"{size[0]} x {size[1]} pixels, expected at most {MAX_PIXELS}")
    try:
        if form == "JPEG" and mode in ("RGB", "L"):
            image: Array = simplejpeg.decode_jpeg(data, colorspace=colour, strict=True)
        else:
            image = _decode_by_pil(data, colour)
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what PIL and simplejpeg raise
        raise UndecodableError("corrupt", str(error)) from error
    return form, np.ascontiguousarray(TURNS.get(orientation, TURNS[1])(image))


def _header(data: bytes) -> tuple[str, tuple[int, int], str, int]:
    """Format, (width, height), PIL mode and EXIF orientation, without decoding pixels."""
    if not data:
        raise UndecodableError("empty", "0 bytes")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            # MPO is a phone's JPEG with a preview behind it
            form = "JPEG" if image.format == "MPO" else str(image.format)
            return form, image.size, image.mode, int(image.getexif().get(ORIENTATION, 1))
    except UnidentifiedImageError as error:
        known = _sniff(data)
        words = f"a {known} that stops inside its header" if known else f"none of {', '.join(FORMATS)}"
        raise UndecodableError("corrupt" if known else "not_an_image", words) from error
    except Image.DecompressionBombError as error:
        raise UndecodableError("too_large", str(error)) from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise UndecodableError("corrupt", str(error)) from error


def _sniff(data: bytes) -> str | None:
    """The format that the first bytes promise."""
    magics = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
    return next((name for magic, name in magics.items() if data.startswith(magic)), None)


def _decode_by_pil(data: bytes, colour: Literal["RGB", "GRAY"]) -> Array:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.load()  # strict for these: PNG's own checksums, TIFF's and BMP's lengths
        whole: Image.Image = image
        if image.mode.startswith("I;16"):  # convert() would clip 16 bits at 255 instead of scaling them
            whole = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        pixels = np.asarray(whole.convert("L" if colour == "GRAY" else "RGB"))
    return pixels[..., None] if colour == "GRAY" else pixels  # (H, W, 1 or 3)


def scan_file(root: Path, relative: str) -> Facts:
    """The facts of `root / relative`; never raises for a bad file, never opens one outside `root`."""
    base, target = root.resolve(), (root / PurePosixPath(relative)).resolve()
    if not target.is_relative_to(base):
        return Facts(relative, "outside_folder", "leaves the data set's folder, not opened")
    if not target.is_file():
        return Facts(relative, "missing", "no such file")
    try:
        data = target.read_bytes()
    except OSError as error:
        return Facts(relative, "unreadable", error.strerror)
    return _examine(relative, data)


def _examine(relative: str, data: bytes) -> Facts:
    known: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    try:
        form, luma = decode(data, "GRAY")  # (H, W, 1)
    except UndecodableError as error:
        return Facts(relative, error.problem, str(error), **known)
    known |= {"format": form, "height": luma.shape[0], "width": luma.shape[1]}
    known |= {"luma": float(luma.mean()), "sharpness": sharpness(luma)}
    promised = SUFFIXES.get(PurePosixPath(relative).suffix.lower())
    if promised != form:
        return Facts(relative, "wrong_extension", f"a {form} by content", **known)
    return Facts(relative, **known)


def sharpness(luma: Array) -> float:
    """Variance of the Laplacian of (H, W, 1) luma in [0, 255] (Pech-Pacheco et al. 2000); low is blurred."""
    side = min(luma.shape[:2])
    if side > SHARPNESS_SIDE:
        scale = SHARPNESS_SIDE / side
        luma = np.asarray(cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return float(cv2.Laplacian(luma, cv2.CV_16S).var())


def scan(root: Path, paths: Sequence[str], executor: Executor | None, track: Track) -> pd.DataFrame:
    """One row of Facts a file, sorted by path; the executor may be threads, processes or a cluster's."""
    ordered = sorted(set(paths))
    examine = partial(scan_file, root)
    results = map(examine, ordered) if executor is None else executor.map(examine, ordered, chunksize=32)
    return as_table(track(results, len(ordered), "images scanned"))


def as_table(facts: Iterable[Facts]) -> pd.DataFrame:
    """Facts as a table whose column types do not depend on what was found."""
    columns = [field.name for field in fields(Facts)]
    table = pd.DataFrame([asdict(fact) for fact in facts], columns=columns)
    words = dict.fromkeys(("path", "problem", "detail", "sha256", "format"), "str")
    counts = dict.fromkeys(("bytes", "width", "height"), "Int64")
    return table.astype({**words, **counts, "luma": "float64", "sharpness": "float64"})
