"""From the bytes of an image file to facts about it: one strict decode a file, spread over any Executor, never twice.

Each fact is read at the coarsest resolution that tells it. A JPEG's whole code is read, so that no damage is
missed, but its cosines are turned into pixels at a half, a quarter or an eighth of the size where that is enough
(ITU-T T.81's blocks of 8 x 8 have those sizes within); other images are halved by means of 2 x 2 pixels. What was
found is kept by the sha256 of the bytes, so that a later scan decodes only what no scan has seen.
"""

from __future__ import annotations

import hashlib
import io
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cache as once
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
import PIL
import simplejpeg
from PIL import Image

from components.base.errors import DataError
from components.data.sources import SourceError, read_bytes
from components.validation import containers, perceptual_hash
from components.validation.containers import BROKEN, Header, Problem, read_header, trailing_bytes
from components.validation.containers import UndecodableError as UndecodableError
from components.validation.scan_cache import read_cache, write_cache

Array = np.ndarray[Any, np.dtype[np.uint8]]
Track = Callable[[Iterable[Any], int, str], Iterable[Any]]
Tell = Callable[[str], None]
Batch = Sequence[str]

SUFFIXES = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
BATCH = 64  # files a task: a task's overhead is a thousandth, and a lost worker loses little
SHARPNESS_SIDE = 256  # pixels; a Laplacian is comparable between images of like size alone
SMALL_SIDE = 64  # pixels; enough for a 64-bit hash, a border and a mean
DARK, BRIGHT = 5, 250  # luma; clipped, give or take JPEG's rounding
BORDER = 40  # luma; a dermoscope's black border is below, and hardly a lesion that touches the edge
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
    """What one pass over a file tells; whatever a problem keeps from being known is None.

    The problems from wrong_extension on decode: they come with all other facts. Of several the first of
    `wrong_extension trailing_bytes animated cmyk sixteen_bit alpha grey` is the problem, `detail` tells all.
    """

    path: str  # POSIX, relative to the data set's folder, as sources.read_bytes takes it
    problem: Problem | None = None  # None: sound
    detail: str | None = None  # the problem in the decoder's words
    sha256: str | None = None  # of the file's bytes
    bytes: int | None = None
    format: str | None = None  # by content, one of containers.FORMATS
    mode: str | None = None  # PIL's: RGB, L, CMYK, RGBA, I;16, P, ...
    frames: int | None = None  # pages or moments; a phone's previews are none
    orientation: int | None = None  # EXIF, 1 to 8; 1 is upright
    width: int | None = None  # pixels, upright
    height: int | None = None
    luma: float | None = None  # mean, in [0, 255]
    dark: float | None = None  # share of luma at most DARK, in [0, 1]
    bright: float | None = None  # share of luma at least BRIGHT, in [0, 1]
    saturation: float | None = None  # mean chroma, max(R, G, B) - min(R, G, B), in [0, 1]
    sharpness: float | None = None  # variance of the Laplacian, shorter side at most SHARPNESS_SIDE
    vignette: float | None = None  # share of luma below BORDER that touches the edge, in [0, 1]
    phash: int | None = None  # perceptual.phash, in [0, 2**64)
    identifying: str | None = None  # kinds of metadata that could name a patient, of containers.WORDS, comma between


@dataclass(frozen=True)
class Scanned:
    """A scan's table, and how many images were decoded for it instead of known from before."""

    facts: pd.DataFrame  # one row of Facts a path, sorted by path
    anew: int


# --- one image


def decode(data: bytes, colour: Literal["RGB", "GRAY"] = "RGB") -> tuple[str, Array]:
    """Format and upright pixels, (H, W, 3) RGB or (H, W, 1) luma, of a whole image; anything less raises.

    JPEG goes through libjpeg-turbo in strict mode: PIL passes truncated and overwritten files in silence.
    Raises UndecodableError.
    """
    header = read_header(data)
    image, _ = _decode(data, header, colour)
    return header.format, np.ascontiguousarray(TURNS[header.orientation](image))


def _decode(data: bytes, header: Header, colour: Literal["RGB", "GRAY"], factor: int = 1) -> tuple[Array, bool]:
    """Pixels as they are stored, and whether all of them are opaque; a JPEG may be shrunk by 1, 2, 4 or 8."""
    try:
        if header.format == "JPEG" and header.mode in ("RGB", "L"):
            least = {"min_height": -(-header.height // factor), "min_width": -(-header.width // factor)}
            return simplejpeg.decode_jpeg(data, colorspace=colour, min_factor=factor, strict=True, **least), True
        if header.mode == "CMYK" and header.format == "JPEG":
            simplejpeg.decode_jpeg(data, colorspace="CMYK", strict=True)  # the judge; PIL knows Adobe's inversion
        return _decode_by_pil(data, colour)
    except UndecodableError:
        raise
    except Image.DecompressionBombError as error:
        raise UndecodableError("too_large", str(error)) from error
    except BROKEN as error:
        raise UndecodableError("corrupt", str(error) or type(error).__name__) from error


def _decode_by_pil(data: bytes, colour: Literal["RGB", "GRAY"]) -> tuple[Array, bool]:
    with Image.open(io.BytesIO(data), formats=[*containers.FORMATS, "MPO"]) as image:
        image.load()  # strict for these: PNG's own checksums, TIFF's and BMP's lengths
        whole: Image.Image = image
        if image.mode in ("I", "F"):
            raise UndecodableError(
                "not_an_image", f"mode {image.mode}: measurements of 32 bits, no known black and white"
            )
        if image.mode.startswith("I;16"):  # convert() would clip 16 bits at 255 instead of scaling them
            whole = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        pixels = np.asarray(whole.convert("L" if colour == "GRAY" else "RGB"))
        opaque = not image.has_transparency_data or image.convert("RGBA").getchannel("A").getextrema() == (255, 255)
    return (pixels[..., None] if colour == "GRAY" else pixels), opaque  # (H, W, 1 or 3)


def examine(data: bytes) -> dict[str, Any]:
    """Everything in Facts that the bytes alone tell, by name."""
    known: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    try:
        header = read_header(data)
        image, opaque = _decode(data, header, "RGB", _enough(header))  # (h, w, 3)
    except UndecodableError as error:
        return known | {"problem": error.problem, "detail": str(error)}
    known |= {name: getattr(header, name) for name in ("format", "mode", "frames", "orientation", "identifying")}
    sides = (header.width, header.height) if header.orientation < 5 else (header.height, header.width)
    known |= dict(zip(("width", "height"), sides, strict=True))
    known |= measure(image, header.orientation)
    odd = _oddities(data, header, opaque, known["saturation"] == 0 and _is_grey(image))
    return known | {"problem": next(iter(odd), None), "detail": "; ".join(odd.values()) or None}


def _enough(header: Header) -> int:
    """By how much the image may be shrunk until the shorter side is SHARPNESS_SIDE or less."""
    side = min(header.width, header.height)
    return next((factor for factor in (1, 2, 4) if -(-side // factor) <= SHARPNESS_SIDE), 8)


def _oddities(data: bytes, header: Header, opaque: bool, grey: bool) -> dict[Problem, str]:
    """What is odd about an image that decodes, in words, the gravest first."""
    behind = trailing_bytes(data, header.end)
    odd: dict[Problem, tuple[bool, str]] = {
        "trailing_bytes": (behind > 0, f"{behind} bytes after the image's end"),
        "animated": (header.frames > 1, f"{header.frames} frames"),
        "cmyk": (header.mode == "CMYK", "inks instead of light"),
        "sixteen_bit": (header.bits > 8, f"{header.bits} bits a channel"),
        "alpha": (not opaque, "some pixels are not opaque"),
        "grey": (grey, "red, green and blue are equal everywhere"),
    }
    return {problem: words for problem, (here, words) in odd.items() if here}


def measure(image: Array, orientation: int = 1) -> dict[str, float | int]:
    """The numbers of Facts about (H, W, 3) RGB pixels as they are stored."""
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
        "phash": perceptual_hash.phash(np.ascontiguousarray(TURNS[orientation](small_luma))),
    }


def _halve(image: Array, most: int) -> Array:
    """Means of 2 x 2 pixels, again while the shorter side is more than `most`, half a pixel counted as one."""
    side = min(image.shape[:2])
    while side > most:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * height, : 2 * width]  # OpenCV is twenty times as fast where the ratio is exactly 2
        image = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        side = -(-side // 2)  # as a JPEG's sizes are rounded, so that both stop at the same
    return image


def _chroma(image: Array) -> float:
    red, green, blue = cv2.split(image)
    most, least = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return float(cv2.mean(cv2.subtract(most, least))[0] / 255)


def _is_grey(image: Array) -> bool:
    return np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2])


def _border(luma: Array) -> float:
    """Share of the pixels that a flood of darkness from outside the picture reaches."""
    sea = np.pad(luma < BORDER, 1, constant_values=True).astype(np.uint8)  # 1 where dark
    reached, *_ = cv2.floodFill(sea, None, (0, 0), 2)
    return float((reached - 2 * (sum(luma.shape[:2]) + 2)) / luma.size)  # without the frame around the picture


def sharpness(luma: Array) -> float:
    """Variance of the Laplacian of (H, W) or (H, W, 1) luma in [0, 255] (Pech-Pacheco et al. 2000); low is blurred.

    Taken once halving has brought the shorter side to SHARPNESS_SIDE or less: a photograph's detail is
    alike at all scales (Field 1987), so that what is left of the size, at most a factor of 2, matters little.
    """
    return _laplacian_variance(_halve(luma, SHARPNESS_SIDE))


def _laplacian_variance(luma: Array) -> float:
    """Mean square less squared mean: OpenCV has vectorised both, and numpy's var takes ten times as long."""
    edges = cv2.Laplacian(luma, cv2.CV_16S)  # in [-1020, 1020]
    return float(cv2.norm(edges, cv2.NORM_L2SQR) / luma.size - cv2.mean(edges)[0] ** 2)


def is_misnamed(path: str, form: str | None) -> bool:
    """Whether a path promises another format than the content's; a row of an npz has no extension to promise."""
    suffix = PurePosixPath(path).suffix.lower()
    return form is not None and SUFFIXES.get(suffix) != form and not (suffix == "" and ".npz/" in path)


def _renamed(form: str | None, detail: str | None) -> str:
    return f"a {form} by content" + (f"; {detail}" if isinstance(detail, str) else "")


def _look(root: Path, path: str) -> Facts:
    """The facts but for the name: what may be remembered for other files of the same content."""
    try:
        return Facts(path, **examine(read_bytes(root, path)))
    except SourceError as error:
        return Facts(path, error.problem, str(error))


# --- many images


def scan(
    root: Path,
    paths: Sequence[str],
    executor: Executor | None,
    track: Track,
    cache: Path | None = None,
    tell: Tell = lambda _: None,
) -> Scanned:
    """One row of Facts a path; the executor may be threads, processes or a cluster's.

    `cache` is a folder in which what was found is kept, also when the scan is interrupted; `tell` is given one
    line when what lies there cannot be believed. A file is read again each time, since only its content is proof.
    """
    ordered = sorted(set(paths))
    nothing = _contents(as_table([]))
    known = nothing if cache is None else read_cache(cache, version(), nothing, tell)
    digests = {} if known.empty else _digests(root, ordered, executor, track)
    before = set(known["sha256"])
    new = [path for path in ordered if digests.get(path) not in before]
    looked: list[Facts] = []
    try:
        for facts in track(_spread(_look_at, root, new, executor), len(new), "images scanned") if new else ():
            looked.append(facts)
    finally:
        fresh = as_table(looked)
        if cache is not None and fresh["sha256"].notna().any():
            write_cache(cache, version(), _add(known, fresh))
    remembered = _remember(known, {path: digests[path] for path in ordered if digests.get(path) in before})
    return Scanned(_judge_names(_join([fresh, remembered])), int(fresh["sha256"].notna().sum()))


@once
def version() -> str:
    """Changes whenever the same bytes might give other facts: with this code and with the decoders."""
    code = [Path(file).read_bytes() for file in (__file__, containers.__file__, perceptual_hash.__file__)]
    decoders = (PIL.__version__, simplejpeg.__version__, cv2.__version__, np.__version__)
    return hashlib.sha256(b"\0".join([*code, *map(str.encode, decoders)])).hexdigest()


def _digests(root: Path, paths: Batch, executor: Executor | None, track: Track) -> Mapping[str, str]:
    """The sha256 of every file that can be read. On this host in threads: hashing needs no interpreter."""
    if executor is not None and not isinstance(executor, ProcessPoolExecutor):
        return dict(track(_spread(_digest_of, root, paths, executor), len(paths), "images compared"))
    with ThreadPoolExecutor() as threads:
        return dict(track(_spread(_digest_of, root, paths, threads), len(paths), "images compared"))


def _spread(
    work: Callable[[Path, Batch], list[Any]], root: Path, paths: Batch, executor: Executor | None
) -> Iterator[Any]:
    """The results for all paths in their order, BATCH of them a task."""
    batches = [paths[first : first + BATCH] for first in range(0, len(paths), BATCH)]
    task = partial(work, root.absolute())
    return chain.from_iterable(map(task, batches) if executor is None else executor.map(task, batches))


def _look_at(root: Path, batch: Batch) -> list[Facts]:
    if not root.is_dir():  # a worker without the data would call every image missing
        raise DataError(
            f"{root}: no such folder on host {socket.gethostname()}; mount the data set at the same path "
            "wherever scan.cluster (params.yaml) has workers, or mend dataset.path"
        )
    return [_look(root, path) for path in batch]


def _digest_of(root: Path, batch: Batch) -> list[tuple[str, str]]:
    return list(_hash_each(root, batch))


def _hash_each(root: Path, batch: Batch) -> Iterator[tuple[str, str]]:
    for path in batch:
        try:
            yield path, hashlib.sha256(read_bytes(root, path)).hexdigest()
        except SourceError:  # looked at again, for its reason
            yield path, ""


# --- tables


def as_table(facts: Iterable[Facts]) -> pd.DataFrame:
    """Facts as a table whose column types do not depend on what was found."""
    rows = list(facts)
    types: dict[str, Any] = dict.fromkeys((field.name for field in fields(Facts)), "float64")
    types |= dict.fromkeys(("path", "problem", "detail", "sha256", "format", "mode", "identifying"), "str")
    types |= dict.fromkeys(("bytes", "frames", "orientation", "width", "height"), "Int64")
    types["phash"] = "UInt64"
    return pd.DataFrame(
        {name: pd.array([getattr(row, name) for row in rows], dtype=kind) for name, kind in types.items()}
    )


def _contents(table: pd.DataFrame) -> pd.DataFrame:
    """What may be kept of a table: all but the path, one row a content."""
    return table[table["sha256"].notna()].drop(columns="path").drop_duplicates("sha256", ignore_index=True)


def _add(known: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    return _join([_contents(fresh), known]).drop_duplicates("sha256", ignore_index=True)


def _join(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Below each other; pandas guesses types anew where one is empty."""
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _remember(known: pd.DataFrame, digests: Mapping[str, str]) -> pd.DataFrame:
    places = pd.Index(known["sha256"]).get_indexer(pd.Index(list(digests.values()), dtype="str"))
    table: pd.DataFrame = known.iloc[places].reset_index(drop=True)
    table.insert(0, "path", pd.Series(list(digests), dtype="str"))
    return table


def _judge_names(table: pd.DataFrame) -> pd.DataFrame:
    """Sorted by path; the verdict on extensions, which alone depends on the name, is passed here."""
    table = table.sort_values("path", ignore_index=True)
    formats = table["format"].astype(object).where(table["format"].notna(), None)
    wrong = pd.Series([is_misnamed(*pair) for pair in zip(table["path"], formats, strict=True)], dtype=bool)
    table.loc[wrong, "detail"] = [_renamed(*pair) for pair in table.loc[wrong, ["format", "detail"]].to_numpy()]
    table.loc[wrong, "problem"] = "wrong_extension"
    return table
