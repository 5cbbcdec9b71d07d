"""Predict many images into one table: part by part, so that memory stays flat and a stopped run continues.

While it works, finished parts lie in a folder beside the table, `NAME.parts`. The same command continues there; another
one (other images, another bundle) is refused until that folder is deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from components.base.errors import DataError, RunError
from components.base.files import whole, write_text
from components.base.log import Log
from components.data.source_error import SourceError
from components.data.sources import read_bytes
from components.deployment.predictor import Images, Predictor
from components.validation.image_header import UndecodableError
from flows.prediction.inputs import Inputs

PART = 1024
"""Images of one part: a multiple of the batch, so that parts do not change how images share batches."""

REQUEST = "request.json"
FORMATS = (".parquet", ".csv")


@dataclass(frozen=True)
class Predicted:
    """What a finished table holds."""

    images: int
    failed: int
    """Images that could not be read; each has a row with its reason."""
    abstained: int
    malignant: int | None
    """Answered images that were called malignant; None where it is not known which classes are."""


def predict_table(inputs: Inputs, predictor: Predictor, out: Path, threads: int, log: Log) -> Predicted:
    """Write one row for each image, in the order of `inputs`.

    Columns: `image`, `error` (why it could not be read; then all others are null), and those of `Predictor.predict`.

    Args:
        inputs: the images.
        predictor: gives the answers.
        out: the table, .parquet or .csv; is replaced where it exists.
        threads: images decoded at once.
        log: shows progress.

    Raises:
        RunError: where `out` has another suffix, or its parts are of another request.
    """
    if out.suffix.lower() not in FORMATS or out.is_dir():
        raise RunError(f"--out {out}: expected a file whose name ends with {' or '.join(FORMATS)}")
    parts = out.with_name(f"{out.name}.parts")
    with _only_one(parts):
        found = _predict_parts(inputs, predictor, out, parts, threads, log)
    shutil.rmtree(parts)
    return found


@contextmanager
def _only_one(parts: Path) -> Iterator[None]:
    """Hold the folder of parts for this process."""
    parts.mkdir(parents=True, exist_ok=True)
    lock = FileLock(parts / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(f"{parts}: another command writes there: wait for it, or choose another --out") from None
    try:
        yield
    finally:
        lock.release()


def _predict_parts(inputs: Inputs, predictor: Predictor, out: Path, parts: Path, threads: int, log: Log) -> Predicted:
    request = _begin(parts, inputs, predictor)
    places = range(0, len(inputs.images), PART)
    missing = [place for place in places if not _part(parts, place, request).exists()]
    if missing and len(missing) < len(places):
        log.line(f"{parts}: {len(places) - len(missing)} of {len(places)} parts are there, continuing")
    rows = (inputs.images.iloc[place : place + PART] for place in missing)
    shown = iter(log.track(_each_image(rows, threads, predictor), _count(inputs, missing), "images predicted"))
    for place in missing:
        count = min(PART, len(inputs.images) - place)
        _write_part(_part(parts, place, request), [next(shown) for _ in range(count)], predictor)
    return _join([_part(parts, place, request) for place in places], out)


def _begin(parts: Path, inputs: Inputs, predictor: Predictor) -> str:
    """Write what was asked into the folder of parts, or compare with what stands there; the hash of the request."""
    request = {"bundle": predictor.bundle.sha256, "images": _hash_of(inputs), "part": PART}
    path, text = parts / REQUEST, json.dumps(request)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    if not path.exists():
        write_text(path, text)
        return sha256
    earlier = json.loads(path.read_text())
    differing = [name for name in request if earlier.get(name) != request[name]]
    if differing:
        raise RunError(
            f"{parts}: holds parts of an earlier command with other {' and '.join(differing)}: delete this folder, or "
            "choose another --out"
        )
    return sha256


def _hash_of(inputs: Inputs) -> str:
    """Of the images by their places on this host, with size and time of change of the file that holds each."""
    digest = hashlib.sha256()
    for row in inputs.images.itertuples(index=False):
        place = Path(os.path.abspath(f"{row.root}/{row.path}"))  # noqa: PTH100  # links are names of their own
        file = next((each for each in (place, *place.parents) if each.is_file()), None)
        known = (0, 0) if file is None else (file.stat().st_size, file.stat().st_mtime_ns)
        digest.update(repr((row.image, str(place), row.problem, *known)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _part(parts: Path, place: int, request: str) -> Path:
    """Its name has the request's hash: a part of another request is never read."""
    return parts / f"{place:09d}-{request[:16]}.parquet"


def _count(inputs: Inputs, missing: Sequence[int]) -> int:
    return sum(min(PART, len(inputs.images) - place) for place in missing)


def _each_image(
    chunks: Iterator[pd.DataFrame], threads: int, predictor: Predictor
) -> Iterator[tuple[str, Images | None, str]]:
    """Name, pixels and error of each image; at most one part is in memory."""
    with ThreadPoolExecutor(threads) as executor:
        for chunk in chunks:
            rows = chunk.itertuples(index=False)
            yield from executor.map(lambda row: _read(row, predictor), rows)


def _read(row: Any, predictor: Predictor) -> tuple[str, Images | None, str]:
    if row.problem:
        return row.image, None, row.problem
    try:
        return row.image, predictor.read(read_bytes(Path(row.root), row.path)), ""
    except SourceError as error:
        return row.image, None, str(error)
    except UndecodableError as error:
        return row.image, None, f"{error.problem}: {error}"


def _write_part(path: Path, images: Sequence[tuple[str, Images | None, str]], predictor: Predictor) -> None:
    """The rows of one part; images that cannot be read have a reason and no answer."""
    readable = [pixels for _, pixels, _ in images if pixels is not None]
    answers = predictor.predict_batches(lambda rows: np.stack([readable[row] for row in rows]), len(readable))
    answers.index = pd.Index([place for place, (_, pixels, _) in enumerate(images) if pixels is not None])
    table = answers.reindex(range(len(images))).astype({"abstain": "boolean"})
    table.insert(0, "image", pd.Series([name for name, _, _ in images], dtype="str"))
    table.insert(1, "error", pd.Series([error or None for _, _, error in images], dtype="str"))
    with whole(path) as part:
        columns = pa.Table.from_pandas(table, preserve_index=False)
        pq.write_table(columns.replace_schema_metadata(None), part)  # pandas cannot read back its own words on lists


def _join(parts: Sequence[Path], out: Path) -> Predicted:
    """All parts in one table, one part in memory at a time; and what is in it."""
    counts = np.zeros(4, dtype=np.int64)
    known = False
    with whole(out) as unfinished:
        writer = _CsvWriter(unfinished) if out.suffix.lower() == ".csv" else _ParquetWriter(unfinished, parts[0])
        with writer:
            for path in parts:
                table = _read_part(path)
                writer.write(table)
                frame = table.select(["error", "abstain", "malignant"]).to_pandas(types_mapper=pd.ArrowDtype)
                answered = frame["abstain"].eq(False).fillna(False)
                known |= bool(frame["malignant"].notna().any())
                counts += [
                    len(frame),
                    frame["error"].notna().sum(),
                    frame["abstain"].fillna(False).sum(),
                    (answered & frame["malignant"].fillna(False)).sum(),
                ]
    images, failed, abstained, malignant = counts.tolist()
    return Predicted(images, failed, abstained, malignant if known else None)


def _read_part(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it and repeat the command") from error


class _ParquetWriter:
    def __init__(self, path: Path, first: Path) -> None:
        self._writer = pq.ParquetWriter(path, pq.read_schema(first))

    def __enter__(self) -> None:
        self._writer.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)


class _CsvWriter:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._header = True

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def write(self, table: pa.Table) -> None:
        _for_spreadsheets(table.to_pandas()).to_csv(self._file, index=False, header=self._header, lineterminator="\n")
        self._header = False


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With which a cell begins that a spreadsheet computes: a file's name can be chosen by anyone."""


def _for_spreadsheets(table: pd.DataFrame) -> pd.DataFrame:
    """Lists as text, joined by `; `, and an apostrophe before text that a spreadsheet would compute."""
    sets = [None if each is None else "; ".join(each) for each in table["set"]]
    shown = table.assign(set=pd.Series(sets, dtype="str"))
    for name in ("image", "error", "predicted", "set"):
        shown[name] = shown[name].map(_as_text)
    return shown


def _as_text(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
