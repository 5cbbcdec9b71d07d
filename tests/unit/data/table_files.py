"""Small tables on disk, and what reading them gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import DataError
from components.data.read_report import ReadReport
from components.data.tables import read_table

ROWS = [["im1", "nv", "P1"], ["im2", "mel", "P2"], ["im3", "nv", "P2"]]
NAMES = ["image", "dx", "patient"]
TEXT = "image,dx,patient\nim1,nv,P1\nim2,mel,P2\nim3,nv,P2\n"


def table_of(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, columns: list[str] = NAMES, **settings) -> tuple[list[list[str | None]], dict[str, int]]:
    """The cells, and the warnings by kind."""
    report = ReadReport()
    table = read_table(path, columns, report, **settings)
    return table.to_numpy().tolist(), report.counts()["warnings"]


def refused(path: Path, columns: list[str] = NAMES, **settings) -> DataError:
    with pytest.raises(DataError) as caught:
        read_table(path, columns, ReadReport(), **settings)
    assert str(path) in str(caught.value)
    return caught.value
