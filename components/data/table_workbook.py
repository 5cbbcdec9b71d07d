"""Tables in workbooks: Excel (.xlsx, .xlsm, .xlsb, .xls) and OpenDocument (.ods), read by calamine."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from components.base.errors import DataError
from components.base.normal_form import clean
from components.data.read_report import ReadReport
from components.data.table_format import HEAD, TableFormat, find_header, is_empty, names_of
from components.data.table_rows import Row, RowCheck

EXACT = 10**15
"""A spreadsheet keeps 15 digits of a number, so longer ids may have become equal."""

DOUBTFUL = {
    "long_numbers": "are numbers of more than 15 digits, of which a spreadsheet keeps 15: different ids may have "
    "become equal. Export them as text",
    "date_cells": "are dates, into which a spreadsheet turns ids such as 1-2. Export them as text",
}
"""Kind of warning -> what the cells are."""


@dataclass(frozen=True)
class WorkbookTable:
    """A sheet whose header was read; see `table_format.OpenTable`."""

    file: Path
    header: tuple[str, ...]
    form: str
    sheet: Any  # python_calamine.CalamineSheet
    place: int
    """Row of the header in the sheet, from 0."""
    above: int
    """Rows with content above the header."""
    others: int
    """Sheets with content that are not read."""

    def read(self, places: Sequence[int], report: ReadReport) -> list[list[str]]:
        """See `table_format.OpenTable`. A cell that is merged over several rows counts in each of them."""
        check = RowCheck(self.file, self.header)
        check.counts["rows_above_header"] = self.above
        doubtful: Counter[str] = Counter()
        rows = enumerate(islice(self.sheet.iter_rows(), self.place + 1, None), self.place + 2)
        found = [[cells[place] for place in places] for cells in check.fitting(self._texts(rows, places, doubtful))]
        check.warn(report)
        for kind, count in doubtful.items():
            report.warn(kind, count, f"{self.file.name}: {count} cells of columns that are used {DOUBTFUL[kind]}")
        if self.others:
            report.warn(
                "sheets_not_read", self.others, f"{self.file.name}: {self.others} further sheets have cells and are "
                "not read, as they lack the columns or dataset.format.sheet (params.yaml) names another",
            )  # fmt: skip
        return [list(column) for column in zip(*found, strict=True)] if found else [[] for _ in places]

    def _texts(
        self, rows: Iterable[tuple[int, Sequence[Any]]], places: Sequence[int], doubtful: Counter[str]
    ) -> Iterator[Row]:
        """The rows as text, merged cells filled downwards; `doubtful` counts cells of the wanted columns."""
        merged = self._merged()
        values: dict[tuple[int, int], str] = {}
        for line, cells in rows:
            texts = [_text(cell) for cell in cells]
            for place in places:
                if isinstance(cells[place], datetime.date):
                    doubtful["date_cells"] += 1
                elif isinstance(cells[place], float) and abs(cells[place]) >= EXACT:
                    doubtful["long_numbers"] += 1
            for place, first in merged.get(line, {}).items():
                texts[place] = values[first, place] = texts[place] if line == first else values.get((first, place), "")
            yield line, 1, texts

    def _merged(self) -> dict[int, dict[int, int]]:
        """Line -> place of a cell that is merged over several rows -> line of the first of them."""
        left = (self.sheet.start or (0, 0))[1]
        lines: dict[int, dict[int, int]] = {}
        for (top, column), (bottom, _) in self.sheet.merged_cell_ranges or ():
            for row in range(top, bottom + 1 if bottom > top else top):
                lines.setdefault(row + 1, {})[column - left] = top + 1
        return lines


def open_workbook(file: Path, form: TableFormat, expected: Sequence[str]) -> WorkbookTable:
    """The sheet of a workbook that has the expected columns; see `tables.read_table`."""
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with file.open("rb") as opened:
            book = CalamineWorkbook.from_filelike(opened)
            sheets = {name: book.get_sheet_by_name(name) for name in book.sheet_names}
    except (CalamineError, ValueError) as error:
        raise DataError(
            f"{file}: is no workbook that can be read ({type(error).__name__}); is it complete, and without a "
            "password? Open it in a spreadsheet program and save it again, or save the sheet as CSV UTF-8"
        ).with_words(str(error)) from error
    heads = {name: _head(sheet) for name, sheet in sheets.items()}
    used = {name: rows for name, rows in heads.items() if rows}
    name = form.sheet if form.sheet is not None else _only_sheet(file, used, expected)
    if name not in used:
        state = "is empty" if name in sheets else "is not there"
        raise DataError(f"{file}: sheet {name!r} (dataset.format.sheet, params.yaml) {state}").with_words(
            f"its sheets with cells are {list(used)}"
        )
    rows = used[name]
    place = find_header(rows, expected)
    return WorkbookTable(
        file=file,
        header=tuple(map(clean, rows[place])),
        form=f"workbook, sheet {list(sheets).index(name) + 1} of {len(sheets)}",
        sheet=sheets[name],
        place=place,
        above=sum(not is_empty(cells) for cells in rows[:place]),
        others=len(used) - 1,
    )


def _head(sheet: Any) -> list[list[str]]:
    """The first rows as text, up to HEAD with content; empty where no row has any."""
    rows: list[list[str]] = []
    filled = 0
    for cells in sheet.iter_rows():
        rows.append([_text(cell) for cell in cells])
        filled += not is_empty(rows[-1])
        if filled == HEAD:
            break
    return rows if filled else []


def _only_sheet(file: Path, used: dict[str, list[list[str]]], expected: Sequence[str]) -> str:
    """The only sheet with cells, else the only one with the expected columns."""
    if not used:
        raise DataError(f"{file}: is empty, expected a first row with the names of columns")
    if len(used) == 1:
        return next(iter(used))
    wanted = set(expected)
    fitting = [name for name, rows in used.items() if wanted <= names_of(rows[find_header(rows, expected)])]
    if wanted and len(fitting) == 1:
        return fitting[0]
    raise DataError(
        f"{file}: {len(used)} sheets have cells, and {len(fitting)} of them the expected columns; name the one to read "
        "(params.yaml):\n  dataset:\n    format: {sheet: NAME}"
    ).with_words(f"its sheets are {list(used)}")


def _text(value: Any) -> str:
    """A cell as text. Numbers are floats there, so a whole one loses its decimal point, and a day its time of 0:00."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return str(value.date())
    return str(value)
