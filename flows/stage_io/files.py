"""Files that one stage leaves to another: named where they are missing or broken, written whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from components.base.errors import DataError
from components.base.files import whole


def existing(path: Path, expected: str) -> Path:
    """The path itself; DataError where no file is there: `expected` says of what it is, and what makes it."""
    if not path.is_file():
        raise DataError(f"{path} is missing, expected {expected}")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """An object of JSON; DataError where the file is missing or holds none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}), expected JSON of a finished stage; dvc repro makes it"
        ) from error
    return content


def write_curve(path: Path, curve: Sequence[Mapping[str, float]]) -> None:
    """A training curve as CSV: one row an epoch, whose number from 0 comes first."""
    with whole(path) as unfinished:
        pd.DataFrame(list(curve)).to_csv(unfinished, index_label="epoch", lineterminator="\n")
