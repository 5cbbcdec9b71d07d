"""Tables as people have them: CSV in any encoding and with any separator, Excel, OpenDocument, parquet.

Nothing is guessed that is not sure: the separator is that with which the header has the wanted columns, or what
CleverCSV finds (van den Burg, Nazabal, Sutton: Wrangling messy CSV files by detecting row and type patterns, DMKD 2019);
an encoding other than Unicode is taken where all candidates of charset-normalizer read the same text. Otherwise the
error says what was seen and which setting decides. A row with another number of cells than the header is never read.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.normal_form import clean
from components.data.read_report import ReadReport, TableRead

SEPARATORS = (",", ";", "\t", "|")
WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
TEXTS = (".csv", ".tsv", ".tab", ".txt")
PARQUET = (".parquet", ".pq")
SUFFIXES = (*TEXTS, *WORKBOOKS, *PARQUET)
"""Suffixes of tables that can be read, in lower case; upper case counts as lower."""

SAMPLE = 65_536  # characters from which the separator is found
ROWS_NAMED = 5


class TableFormat(Frozen):
    """How the tables of a data set are written; null: found in the file."""

    separator: str | None = Field(default=None, min_length=1, max_length=1, description="between cells, such as ';'")
    encoding: str | None = Field(default=None, description="such as cp1252 (Windows), mac_roman, utf-16, shift_jis")
    sheet: str | None = Field(default=None, description="of a workbook; null: the only one with cells")


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
        file: the table; its suffix is one of SUFFIXES, else it is read as CSV.
        columns: names of the wanted columns.
        report: gets the file, its number of rows, and how many cells changed.
        form: separator, encoding and sheet where the file does not say them.
        optional: further columns, read where the table has them.
        root: the data set's folder, for the name in the report.

    Returns:
        Every cell as text in the form of `cells.clean`, also ids such as `007` and words such as `NA`; empty cells are
        null. Columns in the order of `columns` and `optional`.

    Raises:
        DataError: where the file is missing, is no table, lacks a column, has a wanted column twice with different
            cells, or has rows with another number of cells than its header.
    """
    table = open_table(file, form, expected=columns)
    missing = [name for name in columns if name not in table.header]
    if missing:
        raise DataError(
            f"{file}: lacks {len(missing)} of the expected columns: {', '.join(missing)}; it was read with "
            f"{table.form} and has {len(table.header)} columns; correct the names, or the setting that maps them "
            "(params.yaml: dataset)"
        ).with_words(f"its columns are {list(table.header)[:30]}")
    chosen = list(dict.fromkeys([*columns, *(name for name in optional if name in table.header)]))
    frame = pd.DataFrame({name: _column(table, name, report) for name in chosen}, dtype="object")
    report.tables.append(TableRead(_name(file, root), len(frame), table.form))
    return frame


def read_header(file: Path, form: TableFormat | None = None) -> list[str]:
    """The names in a table's header, as `read_table` knows them; each once, without nameless columns.

    Raises:
        DataError: where the file is missing or is no table.
    """
    return [name for name in dict.fromkeys(open_table(file, form).header) if name]


@dataclass(frozen=True)
class OpenTable:
    """A table with all its cells as text."""

    file: Path
    header: tuple[str, ...]
    """In the form of `cells.clean`; a name may be empty or stand twice."""
    rows: list[list[str]]
    """Each as long as the header."""
    form: str

    @cached_property
    def positions(self) -> dict[str, list[int]]:
        """Name -> its places in the header."""
        found: dict[str, list[int]] = {}
        for place, name in enumerate(self.header):
            found.setdefault(name, []).append(place)
        return found


def open_table(file: Path, form: TableFormat | None = None, expected: Sequence[str] = ()) -> OpenTable:
    """A whole table.

    Args:
        file: of the table.
        form: separator, encoding and sheet where the file does not say them.
        expected: names of columns by which the separator is known.

    Raises:
        DataError: see `read_table`.
    """
    if not file.is_file():
        raise DataError(
            f"{file}: is missing; put the table there, or correct dataset.path or the name of the table (params.yaml)"
        )
    form, suffix = form or TableFormat(), file.suffix.lower()
    try:
        if suffix in PARQUET:
            return _open_parquet(file)
        if suffix in WORKBOOKS:
            return _open_workbook(file, form)
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    if data[:4] == b"PK\3\4":
        raise DataError(f"{file}: is a workbook or zip with the suffix {suffix or 'of nothing'}; rename it to .xlsx")
    return _open_text(file, data, form, expected)


def _name(file: Path, root: Path | None) -> str:
    return Path(os.path.relpath(file, root)).as_posix() if root else file.name


def _column(table: OpenTable, name: str, report: ReadReport) -> pd.Series:
    """One column; a name that stands twice is read where its cells agree."""
    first, *others = table.positions[name]
    raw = pd.Series([row[first] for row in table.rows], dtype="object")
    for other in others:
        differing = [line for line, row in enumerate(table.rows, 1) if clean(row[first]) != clean(row[other])]
        if differing:
            raise DataError(
                f"{table.file}: has the column {name!r} twice, with different cells in {len(differing)} rows, first "
                f"row {differing[0]}; rename or remove one of them"
            )
    if others:
        report.warn(
            "doubled_columns", len(others), f"{table.file.name} has the column {name!r} {len(others) + 1} times, equal"
        )
    forms = {cell: clean(cell) or None for cell in raw.unique()}
    tidy = raw.map(forms).astype("object")
    changed = int((tidy.fillna("") != raw).sum())
    if changed:
        report.changed[name] += changed
    return pd.Series(tidy.where(tidy.notna(), None), dtype="object")


# --- text -------------------------------------------------------------------------------------------------------------


def _open_text(file: Path, data: bytes, form: TableFormat, expected: Sequence[str]) -> OpenTable:
    text, encoding = decode(file, data, form.encoding)
    if text.startswith("sep=") and len(text) > 4:  # Excel's own first line
        separator, text = text[4], text.partition("\n")[2]
    else:
        separator = form.separator or _separator(file, text, expected)
    records = _records(file, text, separator)
    _, header = next(records, (0, []))
    names = tuple(clean(name) for name in header)
    while len(names) > 1 and not names[-1]:  # each line ends with a separator
        names = names[:-1]
    if not any(names):
        raise DataError(f"{file}: is empty, expected a first line with the names of columns")
    rows, wrong = [], []
    for line, cells in records:
        extra = cells[len(names) :]
        if len(cells) < len(names) or any(cell.strip() for cell in extra):
            wrong.append((line, len(cells)))
        rows.append(cells[: len(names)])
    if wrong:
        shown = ", ".join(f"line {line}: {count}" for line, count in wrong[:ROWS_NAMED])
        raise DataError(
            f"{file}: {len(wrong)} rows have another number of cells than the header's {len(names)} ({shown}"
            f"{', ...' if len(wrong) > ROWS_NAMED else ''}); read with separator {separator!r}. A cell that contains "
            "the separator must stand in double quotes; correct these lines, or set dataset.format.separator"
        )
    return OpenTable(file, names, rows, f"separator {separator!r}, {encoding}")


def _records(file: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each record that is not empty; DataError for quotes that do not fit."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    csv.field_size_limit(2**31 - 1)
    lines = text.splitlines() if '"' in text else []
    width, last = 0, 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{file}: a double quote in or after line {last + 1} does not fit ({error}); inside a cell in quotes "
                "write it twice"
            ) from error
        first, last = last + 1, reader.line_num
        width = width or len(cells)
        if last > first and any(line.count(separator) >= max(width - 1, 1) for line in lines[first : last - 1]):
            raise DataError(
                f"{file}: lines {first} to {last} are one row, since a double quote in line {first} has no partner "
                f"before line {last}, and lines between them have all the cells of a row; remove the quote, or write "
                "it twice"
            )
        if any(cell.strip() for cell in cells):
            yield first, cells


def decode(file: Path, data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """The text of a table's bytes, and the encoding.

    Raises:
        DataError: where the encoding is not sure; it names the candidates and how they read the first letter on which
            they differ.
    """
    marks = (("utf-8-sig", b"\xef\xbb\xbf"), ("utf-32", b"\xff\xfe\0\0"), ("utf-32", b"\0\0\xfe\xff"),
             ("utf-16", b"\xff\xfe"), ("utf-16", b"\xfe\xff"))  # fmt: skip
    chosen = encoding or next((name for name, mark in marks if data.startswith(mark)), None)
    if chosen is None and b"\0" in data[:SAMPLE]:
        chosen = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        text = data.decode(chosen or "utf-8")
    except LookupError:
        raise DataError(
            f"dataset.format.encoding = {encoding!r} (params.yaml): is no encoding that Python knows"
        ) from None
    except UnicodeError as error:
        if chosen:
            raise DataError(
                f"{file}: is not {chosen} ({error}); correct dataset.format.encoding (params.yaml)"
            ) from None
        return _guess(file, data)
    if "\0" in text:
        raise DataError(f"{file}: contains bytes of zero, so it is no text; expected CSV, a workbook or parquet")
    return text.removeprefix("\ufeff"), (chosen or "utf-8").removesuffix("-sig")


def _guess(file: Path, data: bytes) -> tuple[str, str]:
    from charset_normalizer import from_bytes

    matches = [match for match in from_bytes(data) if match.encoding]
    readings = {str(match): match.encoding for match in matches}
    if len(readings) == 1:
        text, name = next(iter(readings.items()))
        return text, f"{name} (found by charset-normalizer)"
    place = next(index for index, byte in enumerate(data) if byte > 127)
    line = data.count(b"\n", 0, place) + 1
    common = dict.fromkeys(["cp1252", "mac_roman", "cp1250", *(match.encoding for match in matches)])
    letters = [f"{data[place : place + 1].decode(name, 'replace')!r} in {name}" for name in list(common)[:6]]
    raise DataError(
        f"{file}: is not UTF-8, and its encoding is not sure: byte 0x{data[place]:02X} in line {line} is "
        f"{', '.join(letters)}; Excel on Windows in western Europe writes cp1252. Set the right one, "
        "dataset.format: {encoding: cp1252} (params.yaml), or save the table as UTF-8"
    )


def _separator(file: Path, text: str, expected: Sequence[str]) -> str:
    """The separator with which the header has the expected columns, else what CleverCSV finds."""
    if file.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    line = text.lstrip("\r\n").partition("\n")[0].rstrip("\r")
    headers = {mark: {clean(cell.strip('"')) for cell in line.split(mark)} for mark in SEPARATORS}
    if expected:
        hits = {mark: len(names & set(expected)) for mark, names in headers.items()}
        best = max(hits.values())
        found = [mark for mark, count in hits.items() if count == best]
        if best and len(found) == 1:
            return found[0]
    present = [mark for mark in SEPARATORS if mark in line]
    if len(present) < 2:
        return present[0] if present else ","
    import clevercsv

    try:
        dialect = clevercsv.Sniffer().sniff(text[:SAMPLE], delimiters="".join(SEPARATORS))
    except clevercsv.Error:
        dialect = None
    if dialect is None or dialect.delimiter not in present:
        raise DataError(
            f"{file}: its separator is not sure: the first line has {present}; set dataset.format: "
            "{separator: ';'} (params.yaml)"
        )
    return str(dialect.delimiter)


# --- workbooks and parquet --------------------------------------------------------------------------------------------


def _open_workbook(file: Path, form: TableFormat) -> OpenTable:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_path(str(file))
        sheets = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names}
    except (CalamineError, OSError, ValueError) as error:
        raise DataError(f"{file}: is no workbook that can be read ({error})") from error
    used = [name for name, rows in sheets.items() if any(_cell(cell) for row in rows for cell in row)]
    if form.sheet is None and len(used) != 1:
        raise DataError(
            f"{file}: {len(used)} of its {len(sheets)} sheets have cells, expected one; name it as "
            "dataset.format: {sheet: NAME} (params.yaml), or save that sheet as CSV"
        ).with_words(f"its sheets are {used}")
    name = form.sheet or used[0]
    if name not in sheets:
        raise DataError(f"{file}: has no sheet {name!r} (dataset.format.sheet, params.yaml)").with_words(str(used))
    rows = [[_cell(cell) for cell in row] for row in sheets[name]]
    rows = [row for row in rows if any(row)]
    header = tuple(clean(cell) for cell in rows[0])
    return OpenTable(file, header, rows[1:], f"workbook, sheet {list(sheets).index(name) + 1}")


def _cell(value: Any) -> str:
    """A workbook's cell as text; every number is a float there, so a whole one loses its decimal point."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _open_parquet(file: Path) -> OpenTable:
    """Integers lose their decimal point, since a column of ids with gaps is stored as 17.0."""
    try:
        typed = pd.read_parquet(file, engine="pyarrow").convert_dtypes()
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: is no parquet table ({error})") from error
    text = typed.astype("object").where(typed.notna(), "").map(str)
    return OpenTable(file, tuple(clean(str(name)) for name in typed), text.to_numpy().tolist(), "parquet")
