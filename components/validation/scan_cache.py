"""The scan's cache: facts by the sha256 of a file's bytes, in one file that is used as a whole or not at all.

It begins with two lines: the version of the scan that wrote it, and the sha256 of the rest, which is a parquet table
(parquet's own checksums do not cover its headers). Nothing that depends on a file's name may be kept here.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from components.base.files import whole

NAME = "scan.cache"


class _InvalidCacheError(ValueError):
    """Why a cache is ignored."""


def read_cache(folder: Path, version: str, empty: pd.DataFrame, warn: Callable[[str], None]) -> pd.DataFrame:
    """The rows kept in `folder`, or `empty` where there are none that can be used.

    Args:
        folder: where `write_cache` wrote.
        version: of the scan and its decoders; a cache of another version is ignored.
        empty: no rows, with the columns and types that the rows must have.
        warn: receives one line when a cache is ignored.
    """
    file = folder / NAME
    if not file.exists():
        return empty
    try:
        return _read(file.read_bytes(), version, empty)
    except (OSError, _InvalidCacheError) as error:
        warn(f"{file} {error}: every image is decoded again")
        return empty


def _read(content: bytes, version: str, empty: pd.DataFrame) -> pd.DataFrame:
    written_by, _, rest = content.partition(b"\n")
    digest, _, body = rest.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise _InvalidCacheError("is damaged")
    if written_by != version.encode():
        raise _InvalidCacheError("is of another version of the scan or its decoders")
    rows = pd.read_parquet(io.BytesIO(body), engine="pyarrow")
    if list(rows) != list(empty):
        raise _InvalidCacheError(f"has columns {list(rows)}, expected {list(empty)}")
    return rows.astype(empty.dtypes.to_dict())


def write_cache(folder: Path, version: str, rows: pd.DataFrame) -> None:
    """Replace the cache by `rows`, one a sha256; an interrupted run leaves the old one."""
    body = rows.sort_values("sha256", ignore_index=True).to_parquet(None, engine="pyarrow", index=False)
    with whole(folder / NAME) as part:
        part.write_bytes(f"{version}\n{hashlib.sha256(body).hexdigest()}\n".encode() + body)
