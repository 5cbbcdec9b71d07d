"""The rows of a table behind its header: what is no row, and what does not fit the header, with its line.

A row with another number of cells than the header is never read, since its cells may stand in wrong columns. Rows that
carry no image (empty ones, comments, the header again) are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from components.base.errors import DataError
from components.base.normal_form import clean
from components.data.read_report import ReadReport
from components.data.table_format import is_comment, is_empty, names_of
from components.data.table_quotes import holds_rows

NAMED = 5
"""Rows that a message names."""

TOTALS = frozenset(
    {"total", "totals", "grand total", "sum", "count", "mean", "average", "median", "summe", "gesamt", "insgesamt",
     "anzahl", "mittelwert", "somme", "suma", "totale"}
)  # fmt: skip
"""First cell of a row that counts the rows above it, in lower case."""

LEFT_OUT = {
    "rows_above_header": "rows above the header are not read",
    "blank_rows": "rows have no content and are left out",
    "comment_rows": "rows are one text that begins with # and are left out",
    "repeated_headers": "rows repeat the header, as in exports put together, and are left out",
    "cells_behind_the_last": "rows end with empty cells behind the last column",
}
"""Kind of warning -> what its rows are."""

Row = tuple[int, int, list[str]]
"""Its first line, its number of lines, its cells."""


@dataclass
class RowCheck:
    """Follows the rows of one table, from the first behind the header to the last."""

    file: Path
    header: tuple[str, ...]
    separator: str | None = None
    """Between cells of a text; None: a workbook."""
    counts: Counter[str] = field(default_factory=Counter)
    """Of LEFT_OUT."""
    _wrong: Counter[int] = field(default_factory=Counter)  # number of cells -> rows that do not fit
    _first: list[str] = field(default_factory=list)  # the first of them, in words
    _several_lines: bool = False  # whether one of them goes over several lines
    _rows: int = 0
    _last: tuple[int, list[str]] = (0, [])

    def fitting(self, rows: Iterable[Row]) -> Iterator[list[str]]:
        """The cells of each row that carries data, as many as the header has names.

        Raises:
            DataError: for a quote that makes rows a part of one cell, or a second header; at the end for rows with
                another number of cells.
        """
        width = len(self.header)
        least = max([place for place, name in enumerate(self.header, 1) if name], default=width)
        names = set(self.header) - {""}
        key = next((place for place, name in enumerate(self.header) if name), 0)
        count, last = 0, self._last  # local, since a table may have a million rows
        for line, lines, found in rows:
            cells = found
            if len(found) != width:
                if not self._can_be_cut((line, lines, found), least):
                    continue
                cells = found[:width] + [""] * (width - len(found))
            if lines > 1 and self.separator and holds_rows(cells, width, self.separator):
                raise self._swallowed(line, lines)
            if not cells[0].strip() and is_empty(cells):
                self.counts["blank_rows"] += 1
                continue
            if cells[key] in names and self._is_header(line, cells, names):
                continue
            count, last = count + 1, (line, cells)
            yield cells
        self._rows, self._last = count, last
        self._refuse()

    def _can_be_cut(self, row: Row, least: int) -> bool:
        """Whether a row of another length has all cells; if not, it is counted as what it is."""
        line, lines, cells = row
        if not any(map(clean, cells)):  # also the sign with which DOS ends a file
            self.counts["blank_rows"] += len(cells) > 1
        elif len(cells) == 1 and is_comment(cells):
            self.counts["comment_rows"] += 1
        elif len(cells) >= least and is_empty(cells[len(self.header) :]):
            self.counts["cells_behind_the_last"] += len(cells) > len(self.header)
            return True
        else:
            self._wrong[len(cells)] += 1
            self._several_lines |= lines > 1
            if len(self._first) < NAMED:
                place = f"line {line}" if lines < 2 else f"lines {line} to {line + lines - 1}"
                self._first.append(f"{place}: {len(cells)}")
        return False

    def _is_header(self, line: int, cells: list[str], names: set[str]) -> bool:
        """Whether a row repeats the header; DataError where it is another one."""
        tidy = tuple(map(clean, cells))
        if tidy == self.header:
            self.counts["repeated_headers"] += 1
            return True
        filled = [cell for cell in tidy if cell]
        known = sum(cell in names for cell in filled)
        same = any(cell and cell == name for cell, name in zip(tidy, self.header, strict=True))
        if (same and len(self.header) > 1) or (known > 1 and known > len(filled) / 2):
            raise DataError(
                f"{self.file}: line {line} is a second header, since {known} of its {len(filled)} cells are names of "
                "columns; its rows may have another order of columns. Keep each table in a file of its own"
            )
        return False

    def _swallowed(self, line: int, lines: int) -> DataError:
        return DataError(
            f"{self.file}: a double quote that opens in line {line} closes in line {line + lines - 1}, and the lines "
            f"between have all cells of a row: {lines} rows would be read as one. Remove the quote, or write it twice "
            "inside a cell in quotes"
        )

    def _refuse(self) -> None:
        if not self._wrong:
            return
        width, count = len(self.header), self._wrong.total()
        more = ", ..." if count > len(self._first) else ""
        read = f"; read with separator {self.separator!r}" if self.separator else ""
        raise DataError(
            f"{self.file}: {count} rows have another number of cells than the header's {width} "
            f"({', '.join(self._first)}{more}){read}. {self._hint(width)}"
        )

    def _hint(self, width: int) -> str:
        """What is probably wrong, and where to correct it."""
        if self._several_lines:
            return "A double quote at the begin of these lines has no partner: remove it, or write it twice"
        if width == 1:
            return (
                "The header is one name: put cells with this character in double quotes, or set another one as "
                "dataset.format.separator (params.yaml)"
            )
        if not self._rows and self._wrong.keys() == {width + 1}:
            return (
                "Every row has one cell more than the header: where that is a number of the row, as R writes it, "
                "export without row names, or give their column a name"
            )
        if not self._rows and self._wrong.keys() == {1}:
            return "Every row is one cell: set the separator of the rows as dataset.format.separator (params.yaml)"
        return (
            "A cell that contains the separator must stand in double quotes; correct these lines, or set "
            "dataset.format.separator (params.yaml)"
        )

    def warn(self, report: ReadReport) -> None:
        """Warn of rows that were left out, and of a last row that counts the others."""
        for kind, words in LEFT_OUT.items():
            if self.counts[kind]:
                report.warn(kind, self.counts[kind], f"{self.file.name}: {self.counts[kind]} {words}")
        line, cells = self._last
        first = next((clean(cell) for cell in cells if clean(cell)), "")
        if first.casefold().rstrip(":") in TOTALS and not names_of(cells) <= {""}:
            report.warn(
                "totals_row", 1, f"{self.file.name}: the last row (line {line}) seems to count the others; it is read "
                "as an image. Take it out",
            )  # fmt: skip
