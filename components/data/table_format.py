"""How a table is written, and what its readers (text, workbook, parquet) have in common.

A reader finds the header first and reads the cells of the wanted columns later, so that a table of many columns does
not fill the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from components.base.config import Frozen
from components.base.normal_form import clean
from components.data.read_report import ReadReport

HEAD = 30
"""Rows among which the header is searched, as exports may begin with a title."""


class TableFormat(Frozen):
    """How the tables of a data set are written; null: found in the file."""

    separator: str | None = Field(default=None, min_length=1, max_length=1, description="between cells, such as ';'")
    encoding: str | None = Field(default=None, description="such as cp1252 (Windows), mac_roman, utf-16, shift_jis")
    sheet: str | None = Field(default=None, description="of a workbook; null: the only one with the columns")


class OpenTable(Protocol):
    """A table whose header was read."""

    @property
    def header(self) -> tuple[str, ...]:
        """Names in the form of `normal_form.clean`; a name may be empty or stand twice."""

    @property
    def form(self) -> str:
        """For the report, such as `separator ';', utf-8`."""

    def read(self, places: Sequence[int], report: ReadReport) -> list[list[str]]:
        """The cells of some columns, for each place in the header one list; empty cells are empty text.

        Args:
            places: of the columns in the header.
            report: gets warnings about the table's rows.

        Raises:
            DataError: where a row does not fit the header.
        """


def is_empty(cells: Sequence[str]) -> bool:
    """Whether a row has blanks at most."""
    return not any(map(str.strip, cells))


def is_comment(cells: Sequence[str]) -> bool:
    """Whether a row is one text that begins with #, such as the first line of some exports."""
    return bool(cells) and cells[0].lstrip().startswith("#") and is_empty(cells[1:])


def find_header(rows: Sequence[Sequence[str]], expected: Sequence[str]) -> int:
    """The place of the header among the first rows, -1 where all of them are empty.

    It is the first row that is neither empty nor a comment. Where that has no expected column, but a later one has all
    of them, the rows above are a title, and the later one is the header.
    """
    filled = [place for place, cells in enumerate(rows) if not is_empty(cells)]
    first = next((place for place in filled if not is_comment(rows[place])), filled[0] if filled else -1)
    wanted = set(expected)
    if first < 0 or not wanted or wanted & names_of(rows[first]):
        return first
    return next((place for place, cells in enumerate(rows) if wanted <= names_of(cells)), first)


def names_of(cells: Sequence[str]) -> set[str]:
    """The names in a header."""
    return {clean(cell) for cell in cells}
