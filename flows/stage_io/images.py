"""Square images decoded from the files of a data set, in the order of a table."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

from components.base.errors import DataError
from components.data.pixels import Array, square
from components.data.source_error import SourceError
from components.data.sources import read_bytes
from components.validation.image_facts import decode
from components.validation.image_header import UndecodableError
from flows.settings.data import Pack as PackSettings

AHEAD = 256
"""Images decoded before the first of them is written; bounds the memory."""


def load_images(folder: Path, rows: pd.DataFrame, pack: PackSettings, threads: int) -> Iterator[Array]:
    """Square images, decoded by several threads.

    Args:
        folder: of the data set.
        rows: with image_id and path.
        pack: size and fit.
        threads: decoders at once; decoding releases the interpreter's lock.

    Yields:
        (S, S, 3) uint8 RGB for each row, in their order.

    Raises:
        DataError: where a file changed since validation.
    """
    load = partial(_load, folder, pack.image_size, pack.fit)
    return _load_all(load, rows["image_id"].tolist(), rows["path"].tolist(), threads)


def _load(folder: Path, size: int, fit: Literal["crop", "pad"], image_id: str, path: str) -> Array:
    """One square image, (S, S, 3); an error names only the id, since a path may contain the name of a person."""
    try:
        return square(decode(read_bytes(folder, path))[1], size, fit)
    except (SourceError, UndecodableError) as error:
        why = error.problem if isinstance(error, SourceError) else error
        raise DataError(
            f"image {image_id}: cannot be read ({why}); it changed since `validate`: run `dvc repro`"
        ) from None


def _load_all(load: partial[Array], names: list[str], files: list[str], threads: int) -> Iterator[Array]:
    """Images in the order of `names`, at most AHEAD of them in memory."""
    with ThreadPoolExecutor(threads) as executor:
        for start in range(0, len(names), AHEAD):
            batch = slice(start, start + AHEAD)
            yield from executor.map(load, names[batch], files[batch])
