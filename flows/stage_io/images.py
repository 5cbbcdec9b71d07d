"""Square images decoded from a data set's files, in the order of a table."""

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


def load_images(folder: Path, rows: pd.DataFrame, pack: PackSettings, threads: int) -> Iterator[Array]:
    """Square images (S, S, 3) of `rows` (image_id, path) below `folder`, in their order."""
    square_up = partial(_load, folder, pack.image_size, pack.fit)
    return _load_all(square_up, rows["image_id"].tolist(), rows["path"].tolist(), threads)


def _load(folder: Path, size: int, fit: Literal["crop", "pad"], image_id: str, path: str) -> Array:
    """One square image, (S, S, 3); an error names the image's id alone, since a path can name a person."""
    try:
        return square(decode(read_bytes(folder, path))[1], size, fit)
    except (SourceError, UndecodableError) as error:
        why = error.problem if isinstance(error, SourceError) else error
        raise DataError(
            f"image {image_id}: cannot be read ({why}); it changed since `validate`: run `dvc repro`"
        ) from None


def _load_all(load: partial[Array], names: list[str], files: list[str], threads: int) -> Iterator[Array]:
    """Images in the order of `names`; decoders let go of the interpreter's lock, so threads suffice."""
    with ThreadPoolExecutor(threads) as executor:
        for start in range(0, len(names), AHEAD):
            batch = slice(start, start + AHEAD)
            yield from executor.map(load, names[batch], files[batch])


AHEAD = 256  # images decoded before they are written: bounds memory
