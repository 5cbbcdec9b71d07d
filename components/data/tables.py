"""Tables as people have them: CSV in any encoding and with any separator, Excel, OpenDocument, parquet.

Nothing is guessed that is not sure: the content decides what a file is, the wanted columns decide on header, separator
and sheet, the data set's own words on an encoding. Otherwise the error says what was seen and which setting decides.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from components.base.errors import DataError
from components.base.normal_form import clean, fold
from components.data.read_report import ReadReport, TableRead
from components.data.table_format import OpenTable
from components.data.table_format import TableFormat as TableFormat
from components.data.table_kinds import kind_of
from components.data.table_parquet import open_parquet
from components.data.table_text import open_text
from components.data.table_workbook import open_workbook

TEXTS = (".csv", ".tsv", ".tab", ".txt")
WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
PARQUET = (".parquet", ".pq")
SUFFIXES = (*TEXTS, *WORKBOOKS, *PARQUET)
"""Suffixes of tables that can be read, in lower case; upper case counts as lower."""

ERROR_CELLS = frozenset(
    {"#N/A", "#NA", "#N/V", "#NV", "#REF!", "#DIV/0!", "#NAME?", "#VALUE!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!",
     "#BEZUG!", "#WERT!", "#ZAHL!", "#VALEUR!", "#NOM?", "#NOMBRE?", "#VALOR!", "#VALORE!"}
)  # fmt: skip
"""What spreadsheets write where a formula has no result; such a cell counts as empty."""

_ROUNDED = re.compile(r"[0-9][.,][0-9]+E\+[0-9]+", re.IGNORECASE)
_AGAIN = re.compile(r"(.+)\.[1-9][0-9]*")  # pandas writes a second column x as x.1


def read_table(
    file: Path,
    columns: Sequence[str],
    report: ReadReport,
    *,
    form: TableFormat | None = None,
    optional: Sequence[str] = (),
    root: Path | None = None,
) -> pd.DataFrame:
    """Some columns of a table as text.

    Args:
        file: the table; where it is missing, `find_table` of it.
        columns: names of the wanted columns.
        report: gets the file, its number of rows, how many cells changed, and warnings.
        form: separator, encoding and sheet where the file does not say them.
        optional: further columns, read where the table has them.
        root: the data set's folder, for the name in the report; names of its files show an encoding.

    Returns:
        Every cell as text in the form of `normal_form.clean`, also ids such as `007` and words such as `NA`; empty
        cells are null. Columns in the order of `columns` and `optional`.

    Raises:
        DataError: where the file is missing, is no table, lacks a column, has a wanted column twice with different
            cells, or has rows with another number of cells than its header.
    """
    file = find_table(file)
    table = open_table(file, form, expected=list(map(clean, columns or optional)), root=root)
    missing = [name for name in dict.fromkeys(columns) if clean(name) not in table.header]
    if missing:
        raise _lacks(file, table, missing)
    chosen = list(dict.fromkeys([*columns, *(name for name in optional if clean(name) in table.header)]))
    places = {name: [place for place, other in enumerate(table.header) if other == clean(name)] for name in chosen}
    again = {
        place: match.group(1)
        for place, name in enumerate(table.header)
        if (match := _AGAIN.fullmatch(name)) and match.group(1) in places and name not in places
    }
    wanted = [*dict.fromkeys(place for found in places.values() for place in found), *again]
    cells = dict(zip(wanted, _read(table, wanted, report, file), strict=True))
    _compare_doubled(file, places, cells, report)
    _compare_again(file, {place: places[name][0] for place, name in again.items()}, cells, table.header, report)
    tidy = {name: _tidied(cells[found[0]], name, file, report) for name, found in places.items()}
    frame = pd.DataFrame(tidy, dtype="object")
    report.tables.append(TableRead(_name(file, root), len(frame), table.form))
    return frame


def read_header(file: Path, form: TableFormat | None = None) -> list[str]:
    """The names in a table's header, as `read_table` knows them; each once, without nameless columns.

    Raises:
        DataError: where the file is missing or is no table.
    """
    return [name for name in dict.fromkeys(open_table(file, form).header) if name]


def find_table(file: Path) -> Path:
    """The file, or the only table beside it with its name in upper or lower case and with any suffix of SUFFIXES.

    Where there is none or several, the file itself, which is missing.
    """
    if file.is_file():
        return file
    tables = _tables_beside(file)
    same = [other for other in tables if other.name.casefold() == file.name.casefold()]
    found = same or [other for other in tables if other.stem.casefold() == file.stem.casefold()]
    return found[0] if len(found) == 1 else file


def open_table(
    file: Path, form: TableFormat | None = None, expected: Sequence[str] = (), root: Path | None = None
) -> OpenTable:
    """A table with its header.

    Args:
        file: of the table.
        form: separator, encoding and sheet where the file does not say them.
        expected: names of columns by which header, separator and sheet are known.
        root: the data set's folder; names of its files show an encoding.

    Raises:
        DataError: see `read_table`.
    """
    if not file.is_file():
        raise DataError(
            f"{file}: is missing; put the table there, or correct dataset.path or the name of the table (params.yaml)"
        ).with_words(f"tables there: {[other.name for other in _tables_beside(file)][:20]}")
    form = form or TableFormat()
    try:
        kind = kind_of(file)
        if kind == "parquet":
            return open_parquet(file)
        if kind == "workbook":
            return open_workbook(file, form, expected)
        if file.suffix.lower() in PARQUET:
            raise DataError(f"{file}: is no parquet table, or damaged; copy or export it again")
        return open_text(file, form, expected, lambda: set(_names_below(root or file.parent)))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error


def _tables_beside(file: Path) -> list[Path]:
    if not file.parent.is_dir():
        return []
    return sorted(
        other for other in file.parent.iterdir() if other.suffix.lower() in SUFFIXES and not other.name.startswith(".")
    )


def _names_below(folder: Path) -> Iterator[str]:
    """Names of all files and folders below a folder."""
    for _, folders, names in os.walk(folder):
        yield from folders
        yield from names


def _name(file: Path, root: Path | None) -> str:
    return Path(os.path.relpath(file, root)).as_posix() if root else file.name


def _lacks(file: Path, table: OpenTable, missing: Sequence[str]) -> DataError:
    """The error about missing columns; similar names of the table are its words."""
    folded: dict[str, str] = {}
    for name in table.header:
        folded.setdefault(_letters(name), name)
    similar = [f"{folded[_letters(name)]!r} for {name!r}" for name in missing if _letters(name) in folded]
    near = f"it has {', '.join(similar)}; " if similar else ""
    hint = f", of which {len(similar)} have a similar name there" if similar else ""
    return DataError(
        f"{file}: lacks {len(missing)} of the expected columns: {', '.join(missing)}{hint}; it was read with "
        f"{table.form} and has {len(table.header)} columns. Correct the names in the table or in the settings "
        "(dataset, params.yaml), or set dataset.format"
    ).with_words(f"{near}its columns are {list(table.header)[:30]}")


def _letters(name: str) -> str:
    return "".join(letter for letter in fold(name) if letter.isalnum())


def _read(table: OpenTable, places: Sequence[int], report: ReadReport, file: Path) -> list[list[str]]:
    try:
        return table.read(places, report)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error


def _compare_doubled(file: Path, places: dict[str, list[int]], cells: dict[int, list[str]], report: ReadReport) -> None:
    """A name that stands twice is read where its cells agree."""
    for name, (first, *others) in places.items():
        for other in others:
            differing = _differing(cells[first], cells[other])
            if differing:
                raise DataError(
                    f"{file}: has the column {name!r} twice, with different cells in {len(differing)} rows, first in "
                    f"row {differing[0]} behind the header; rename or remove one of them"
                )
        if others:
            report.warn(
                "doubled_columns",
                len(others),
                f"{file.name} has column {name!r} {len(others) + 1} times, with equal cells",
            )


def _compare_again(
    file: Path, again: dict[int, int], cells: dict[int, list[str]], header: Sequence[str], report: ReadReport
) -> None:
    """Columns such as `x.1` beside a wanted `x`: only `x` is read, and differences are counted."""
    for place, first in again.items():
        differing = len(_differing(cells[first], cells[place]))
        name, other = header[first], header[place]
        message = f"{file.name} has {other!r} (a second {name!r}, as pandas names it), with different cells in "
        report.warn("doubled_columns", 1, f"{message}{differing} rows; {name!r} is read")


def _differing(first: Sequence[str], other: Sequence[str]) -> list[int]:
    pairs = enumerate(zip(first, other, strict=True), 1)
    return [row for row, (one, two) in pairs if one != two and clean(one) != clean(two)]


def _tidied(raw: Sequence[str], name: str, file: Path, report: ReadReport) -> pd.Series:
    """One column in the form of `normal_form.clean`, with empty cells as null."""
    counts = Counter(raw)
    forms = {cell: clean(cell) for cell in counts}
    changed = sum(counts[cell] for cell, form in forms.items() if cell != form)
    report.count_changed(name, changed)
    for kind, (found, what) in DOUBTFUL.items():
        cells = [cell for cell, form in forms.items() if found(form)]
        if cells:
            count = sum(counts[cell] for cell in cells)
            report.warn(kind, count, f"{file.name}: {count} cells of {name!r} {what}", cells)
    values = {cell: None if _is_error(form) else form or None for cell, form in forms.items()}
    return pd.Series([values[cell] for cell in raw], dtype="object")


def _is_error(cell: str) -> bool:
    return cell.startswith("#") and cell.upper() in ERROR_CELLS


def _is_rounded(cell: str) -> bool:
    return _ROUNDED.fullmatch(cell) is not None


DOUBTFUL: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "error_cells": (_is_error, "are errors of a spreadsheet, such as #N/A; they count as empty"),
    "rounded_numbers": (
        _is_rounded,
        "are numbers such as 1.2E+17, which a spreadsheet rounded: different ids may have become equal. Export them as "
        "text",
    ),
}
"""Kind of warning -> which cells, and what they are."""
