"""Tables as text: CSV with any separator and encoding, read line by line.

The separator is the one with which a line among the first has the wanted columns, else what CleverCSV finds (van den
Burg, Nazabal, Sutton: Wrangling messy CSV files by detecting row and type patterns, 2019).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from components.base.errors import DataError
from components.base.normal_form import clean
from components.data.read_report import ReadReport
from components.data.table_encoding import (
    CANDIDATES,
    KEPT,
    SURROGATES,
    find_encoding,
    is_kept,
    is_utf8,
    read_as,
    settle,
)
from components.data.table_format import HEAD, TableFormat, find_header, is_comment, is_empty, names_of
from components.data.table_quotes import opening_line
from components.data.table_rows import Row, RowCheck

SEPARATORS = (",", ";", "\t", "|")
UNUSUAL = (" ", ":", "^", "~", "#", "\x1f", "\x01")
"""Separators that are taken only where they give all expected columns."""

SAMPLE = 200
"""Lines in which the separator is searched."""

SNIFFED = 8_192
"""Characters that CleverCSV gets, as its time grows fast with them."""

LONGEST_CELL = 2**24
"""Characters; a longer cell is a quote that never closes."""

EXCELS_OWN = re.compile(r'"?sep=(.)"?[;,\t ]*\r?\n?', re.IGNORECASE)
"""The line that Excel writes above the header for itself."""

Evidence = Callable[[], Collection[str]]
"""Gives words that show the encoding, see `table_encoding.settle`."""


@dataclass
class TextTable:
    """A CSV file whose header was read; see `table_format.OpenTable`."""

    file: Path
    header: tuple[str, ...]
    form: str
    given: TableFormat
    separator: str
    encoding: str | None
    """None: not sure, bytes are kept."""
    above: int
    """Rows above the header."""
    rows: Iterator[Row]
    """Behind the header."""
    names: list[str]
    """The header as it stands in the file."""
    evidence: Evidence

    def read(self, places: Sequence[int], report: ReadReport) -> list[list[str]]:
        """See `table_format.OpenTable`."""
        check = RowCheck(self.file, self.header, self.separator)
        check.counts["rows_above_header"] = self.above
        columns: list[list[str]] = [[] for _ in places]
        pairs = [(column.append, place) for column, place in zip(columns, places, strict=True)]
        for cells in check.fitting(self.rows):
            for append, place in pairs:
                append(cells[place])
        check.warn(report)
        if self.encoding is None:
            return self._settled(columns, places, report)
        if self.given.encoding and not self.encoding.startswith("utf") and is_utf8(self.file):
            report.warn(
                "encoding_doubtful", 1, f"{self.file.name} is read as {self.encoding} (dataset.format.encoding), but "
                "is valid UTF-8, too; where its letters are wrong, remove the setting",
            )  # fmt: skip
        return columns

    def _settled(self, columns: list[list[str]], places: Sequence[int], report: ReadReport) -> list[list[str]]:
        """The columns with letters in place of kept bytes."""
        cells = dict.fromkeys(cell for column in columns for cell in column if is_kept(cell))
        if not cells:
            return columns
        names = [self.names[place] for place in places if is_kept(self.names[place])]
        encoding = settle(
            self.file, [*names, *cells], lambda: [*(self.header[place] for place in places), *self.evidence()]
        )
        self.form = f"separator {self.separator!r}, {encoding}"
        report.warn(
            "encoding_found", 1, f"{self.file.name} is not UTF-8; it is read as {encoding}, since then its cells are "
            "names of files or columns; dataset.format.encoding (params.yaml) sets another one",
        )  # fmt: skip
        read = {cell: read_as(cell, encoding) or cell for cell in cells}
        return [[read.get(cell, cell) for cell in column] for column in columns]


def open_text(file: Path, form: TableFormat, expected: Sequence[str], evidence: Evidence) -> TextTable:
    """A CSV file with its header; see `tables.read_table`.

    Args:
        file: the table.
        form: separator and encoding where the file does not say them.
        expected: names of columns by which separator and header are known.
        evidence: see `table_encoding.settle`.
    """
    encoding = find_encoding(file, form.encoding)
    lines = _lines(file, encoding)
    first = next(lines, "")
    excel = EXCELS_OWN.fullmatch(first)
    sample = list(islice(lines if excel else chain([first], lines), SAMPLE))
    separator = form.separator or (excel.group(1) if excel else _separator(file, sample, expected))
    blanks = any(f'{separator} "' in line for line in sample)
    start = 2 if excel else 1
    rows = _rows(file, chain(sample, lines), separator, start=start, blanks=blanks, encoding=encoding)
    head = list(islice(rows, HEAD))
    place = find_header([cells for _, _, cells in head], expected)
    if place < 0:
        raise DataError(f"{file}: is empty, expected a first line with the names of columns")
    shown = "bytes that are not UTF-8" if encoding is None else encoding.removesuffix("-sig")
    return TextTable(
        file=file,
        header=_header(head[place][2], expected),
        form=f"separator {separator!r}, {shown}",
        given=form,
        separator=separator,
        encoding=encoding,
        above=sum(not is_empty(cells) for _, _, cells in head[:place]),
        rows=chain(head[place + 1 :], rows),
        names=head[place][2],
        evidence=evidence,
    )


def _lines(file: Path, encoding: str | None) -> Iterator[str]:
    """The lines with their ends, which may be of Windows, Unix or an old Mac; without a byte order mark."""
    errors = SURROGATES if encoding is None else "strict"
    with file.open(encoding=encoding or KEPT, errors=errors, newline="") as opened:
        yield next(opened, "").removeprefix("\ufeff")
        yield from opened


def _rows(
    file: Path, lines: Iterable[str], separator: str, *, start: int, blanks: bool, encoding: str | None
) -> Iterator[Row]:
    """Every record; DataError for quotes that do not fit, with the line in which the quote opens."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=blanks)
    first = start
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            last = reader.line_num + start - 1
            record = list(islice(_lines(file, encoding), first - 1, last))
            opens = first + opening_line(record, separator, blanks=blanks)
            ends = f" that opens in line {opens} and does not close before line {last}" if last > opens else ""
            raise DataError(
                f"{file}: a double quote{ends or f' in line {last}'} does not fit ({error}). Remove it where it "
                "belongs to no cell, or write it twice inside a cell in quotes"
            ) from error
        after = reader.line_num + start
        yield first, after - first, cells
        first = after


def _header(cells: Sequence[str], expected: Sequence[str]) -> tuple[str, ...]:
    """The names; where bytes are kept, in the encoding in which most of them are expected."""
    if not any(map(is_kept, cells)):
        return tuple(map(clean, cells))
    read = ([clean(read_as(cell, name) or "\ufffd") for cell in cells] for name in CANDIDATES)
    return tuple(max(read, key=lambda names: len(set(expected) & set(names))))


def _separator(file: Path, sample: Sequence[str], expected: Sequence[str]) -> str:
    """The separator with which a line among the first has most expected columns, else what CleverCSV finds."""
    wanted, top = set(expected), [line for line in sample if line.strip()][:HEAD]
    hits = {mark: _hits(top, mark, wanted) for mark in SEPARATORS}
    best = [mark for mark, count in hits.items() if count and count == max(hits.values())]
    if len(best) == 1:
        return best[0]
    if wanted and not best:
        unusual = [mark for mark in UNUSUAL if _hits(top, mark, wanted) == len(wanted)]
        if len(unusual) == 1:
            return unusual[0]
    line = next((line for line in top if not is_comment([line])), "")
    present = [mark for mark in SEPARATORS if mark in line]
    if "\t" in present and file.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    if len(present) < 2:
        return present[0] if present else ","
    import clevercsv

    try:
        text = "".join(sample)[:SNIFFED].encode(errors=SURROGATES).decode(errors="replace")  # it takes no kept bytes
        dialect = clevercsv.Sniffer().sniff(text, delimiters="".join(SEPARATORS))
    except clevercsv.Error:
        dialect = None
    if dialect is None or dialect.delimiter not in present:
        raise DataError(
            f"{file}: its separator is not sure, since its first line has {' and '.join(map(repr, present))}; set it "
            "(params.yaml):\n  dataset:\n    format: {separator: ';'}"
        )
    return str(dialect.delimiter)


def _hits(lines: Sequence[str], separator: str, wanted: set[str]) -> int:
    """The most wanted names that one of the lines has as cells."""
    records = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    return max((len(wanted & names_of(cells)) for cells in records), default=0)
