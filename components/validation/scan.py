"""A scan of a data set: the facts of every image file, found by any Executor and cached by the file's sha256.

With a cache, a later scan decodes only files whose content no earlier scan has decoded.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cache as once
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pandas as pd
import PIL
import simplejpeg

from components.base.errors import DataError
from components.base.log import Track
from components.data import image_formats
from components.data.file_kinds import IMAGE, kind_of_name
from components.data.image_formats import UNREAD, describe_unread, format_of_name
from components.data.source_error import SourceError
from components.data.sources import CONVERTERS, read_bytes
from components.validation import (
    containers,
    further_containers,
    image_facts,
    image_header,
    perceptual_hash,
    png_stream,
    tiff_directories,
)
from components.validation.image_facts import ImageFacts, read_facts
from components.validation.scan_cache import read_cache, write_cache

Warn = Callable[[str], None]
Batch = Sequence[str]

BATCH = 64  # files a task: the overhead is a thousandth of the work, and a lost worker repeats little


@dataclass(frozen=True)
class ScanResult:
    """A scan's table, and how many images were decoded for it instead of read from the cache."""

    facts: pd.DataFrame  # one row of ImageFacts a path, sorted by path
    decoded: int


def scan(
    root: Path,
    paths: Sequence[str],
    executor: Executor | None,
    track: Track,
    *,
    cache: Path | None = None,
    warn: Warn = lambda _: None,
) -> ScanResult:
    """The facts of image files.

    Every file is read and hashed on each call, since only its content proves that it is unchanged; a file whose
    content is in the cache is not decoded.

    Args:
        root: the data set's folder.
        paths: POSIX, relative to `root`; repeated ones count once.
        executor: threads, processes or a cluster's; None: this process.
        track: shows progress, see `Log.track`.
        cache: folder that keeps the facts, also when the scan is interrupted.
        warn: receives one line when the cache is damaged or of another version.

    Raises:
        DataError: a worker does not have the folder `root`.
    """
    ordered = sorted(set(paths))
    nothing = _contents(as_table([]))
    known = nothing if cache is None else read_cache(cache, version(), nothing, warn)
    digests = {} if known.empty else _digests(root, ordered, executor, track)
    cached = set(known["sha256"])
    new = [path for path in ordered if digests.get(path) not in cached]
    found: list[ImageFacts] = []
    try:
        for facts in track(_spread(_scan_batch, root, new, executor), len(new), "images scanned") if new else ():
            found.append(facts)
    finally:
        fresh = as_table(found)
        if cache is not None and fresh["sha256"].notna().any():
            write_cache(cache, version(), _add(known, fresh))
    remembered = _cached_rows(known, {path: digests[path] for path in ordered if digests.get(path) in cached})
    return ScanResult(_check_extensions(_join([fresh, remembered])), int(fresh["sha256"].notna().sum()))


_DECIDING = (
    containers,
    further_containers,
    image_facts,
    image_formats,
    image_header,
    perceptual_hash,
    png_stream,
    tiff_directories,
)


@once
def version() -> str:
    """Hash of the code and the decoders that decide which facts the bytes of a file have: the key of the cache."""
    code = [Path(file).read_bytes() for file in (__file__, *(str(module.__file__) for module in _DECIDING))]
    decoders = (PIL.__version__, simplejpeg.__version__, cv2.__version__, np.__version__)
    return hashlib.sha256(b"\0".join([*code, *map(str.encode, decoders)])).hexdigest()


def _digests(root: Path, paths: Batch, executor: Executor | None, track: Track) -> Mapping[str, str]:
    """Path -> sha256, empty for a file that cannot be read. On this host in threads: hashing releases the GIL."""
    if executor is not None and not isinstance(executor, ProcessPoolExecutor):
        return dict(track(_spread(_digest_of, root, paths, executor), len(paths), "images hashed"))
    with ThreadPoolExecutor() as threads:
        return dict(track(_spread(_digest_of, root, paths, threads), len(paths), "images hashed"))


def _spread(
    work: Callable[[Path, Batch], list[Any]], root: Path, paths: Batch, executor: Executor | None
) -> Iterator[Any]:
    """The results for all paths in their order, BATCH paths a task."""
    batches = [paths[first : first + BATCH] for first in range(0, len(paths), BATCH)]
    task = partial(work, root.absolute())
    return chain.from_iterable(map(task, batches) if executor is None else executor.map(task, batches))


def _scan_batch(root: Path, batch: Batch) -> list[ImageFacts]:
    if not root.is_dir():  # a worker without the data would report every image as missing
        raise DataError(
            f"{root}: no such folder on host {socket.gethostname()}; mount the data set at the same path "
            "on every worker of scan.cluster (params.yaml), or correct dataset.path"
        )
    return [_facts_of(root, path) for path in batch]


def _digest_of(root: Path, batch: Batch) -> list[tuple[str, str]]:
    return list(_hash_each(root, batch))


def _hash_each(root: Path, batch: Batch) -> Iterator[tuple[str, str]]:
    for path in batch:
        try:
            yield path, hashlib.sha256(read_bytes(root, path)).hexdigest()
        except SourceError:  # scanned again, which records the reason
            yield path, ""


def _facts_of(root: Path, path: str) -> ImageFacts:
    """Without the check of the extension, so that the facts hold for every file of the same content."""
    try:
        return ImageFacts(path, **read_facts(read_bytes(root, path)))
    except SourceError as error:
        return ImageFacts(path, error.problem, str(error))


# --- tables


def as_table(facts: Iterable[ImageFacts]) -> pd.DataFrame:
    """ImageFacts as a table whose column types do not depend on the values."""
    rows = list(facts)
    types: dict[str, Any] = dict.fromkeys((field.name for field in fields(ImageFacts)), "float64")
    types |= dict.fromkeys(("path", "problem", "detail", "sha256", "format", "mode", "identifying"), "str")
    types |= dict.fromkeys(("bytes", "frames", "orientation", "width", "height"), "Int64")
    types["phash"] = "UInt64"
    return pd.DataFrame(
        {name: pd.array([getattr(row, name) for row in rows], dtype=kind) for name, kind in types.items()}
    )


def _contents(table: pd.DataFrame) -> pd.DataFrame:
    """What the cache keeps of a table: all columns but the path, one row a content."""
    return table[table["sha256"].notna()].drop(columns="path").drop_duplicates("sha256", ignore_index=True)


def _add(known: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    return _join([_contents(fresh), known]).drop_duplicates("sha256", ignore_index=True)


def _join(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenated without empty tables, for which pandas would infer other types."""
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _cached_rows(known: pd.DataFrame, digests: Mapping[str, str]) -> pd.DataFrame:
    places = pd.Index(known["sha256"]).get_indexer(pd.Index(list(digests.values()), dtype="str"))
    table: pd.DataFrame = known.iloc[places].reset_index(drop=True)
    table.insert(0, "path", pd.Series(list(digests), dtype="str"))
    return table


def _check_extensions(table: pd.DataFrame) -> pd.DataFrame:
    """Sorted by path, with the problems that depend on the name: wrong_extension, and unread_format by the suffix."""
    table = table.sort_values("path", ignore_index=True)
    formats = table["format"].astype(object).where(table["format"].notna(), None)
    problems = table["problem"].astype(object).where(table["problem"].notna(), None)
    unread = pd.Series([_is_unread(*row) for row in zip(table["path"], formats, problems, strict=True)], dtype=bool)
    named = [str(format_of_name(path)) for path in table.loc[unread, "path"]]
    for column, words in (
        ("format", named),
        ("detail", [describe_unread(form) for form in named]),
        ("problem", "unread_format"),
    ):
        table.loc[unread, column] = words
    readable = problems != "unread_format"
    wrong = pd.Series([is_misnamed(*pair) for pair in zip(table["path"], formats, strict=True)], dtype=bool)
    wrong &= readable & ~unread
    table.loc[wrong, "detail"] = [_renamed(*pair) for pair in table.loc[wrong, ["format", "detail"]].to_numpy()]
    table.loc[wrong, "problem"] = "wrong_extension"
    return table


def _is_unread(path: str, form: str | None, problem: str | None) -> bool:
    """True where the name says a format that is not read, and the content is not an image that can be decoded.

    Most raw formats of cameras are TIFF files whose first picture is a small preview.
    """
    named = format_of_name(path)
    if named not in UNREAD or named in CONVERTERS:
        return False
    return problem in ("not_an_image", "corrupt") or (named == "RAW" and form == "TIFF")


def is_misnamed(path: str, form: str | None) -> bool:
    """True where a path's suffix means something else than `form`, the content's format; no suffix means nothing."""
    named = format_of_name(path)
    if form is None or named in CONVERTERS:
        return False
    return named != form if named else kind_of_name(PurePosixPath(path).name) not in (None, IMAGE)


def _renamed(form: str | None, detail: str | None) -> str:
    return f"a {form} by content" + (f"; {detail}" if isinstance(detail, str) else "")
