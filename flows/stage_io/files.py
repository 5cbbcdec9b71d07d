"""Files that another stage wrote: an error names the one that is missing or broken."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from components.base.errors import DataError
from components.base.files import whole


def existing(path: Path, expected: str) -> Path:
    """The path itself.

    Args:
        path: of a file.
        expected: what the file is of and which stage writes it, for the message.

    Raises:
        DataError: where there is no file.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing, expected {expected}")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DataError: where the file is missing or is not JSON.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}), expected JSON that a stage wrote; run dvc repro") from error
    return content


def write_curve(path: Path, curve: Sequence[Mapping[str, float]], first: int = 1) -> None:
    """A training curve as CSV: one row an epoch, whose number comes first; epoch 1 ends with the first pass.

    Args:
        path: of the file.
        curve: the rows.
        first: number of the first row; 0 for a row without training.
    """
    with whole(path) as unfinished:
        table = pd.DataFrame(list(curve))
        table.set_axis(table.index + first).to_csv(unfinished, index_label="epoch", lineterminator="\n")
