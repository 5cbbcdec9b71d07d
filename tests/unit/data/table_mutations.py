"""Tables damaged as people and their software damage them: a mutation changes cells, rows, header, text or bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from components.base.normal_form import clean

WORDS = (
    "", " ", "NA", "nan", "-", "0", "007", "7.0", "-1", "1e9", "True", "null", "x" * 300, "a,b", "a;b", 'say "no"',
    "line\nbreak", "\u00a0P1\u200b", "u\u0308brig", "übrig", "../../x", "C:\\bilder\\1.jpg", "/mnt/1.jpg",
    "http://example.org/a.jpg", "=HYPERLINK(1)", "{'Eczema': 1}", "{", "[1, 2", "\U0001f600", "\uff11\uff17",
    "45,5", "85+",
)  # fmt: skip
SEPARATORS = (",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1", "mac_roman", "utf-32")


@dataclass(frozen=True)
class Written:
    """A table before it is written."""

    rows: tuple[tuple[str, ...], ...]
    """The header first."""
    separator: str = ","
    encoding: str = "utf-8"
    line_end: str = "\n"
    damage: Callable[[bytes], bytes] | None = None
    """Of the bytes; None: the table can be read back as it is."""
    torn: bool = False
    """Whether rows have other numbers of cells than the header, or cells are not quoted where they must be."""

    def encode(self) -> bytes:
        """The bytes of the file."""
        stream = io.StringIO(newline="")
        csv.writer(stream, delimiter=self.separator, lineterminator=self.line_end).writerows(self.rows)
        data = stream.getvalue().encode(self.encoding, "replace")
        return self.damage(data) if self.damage else data

    @property
    def data_rows(self) -> int:
        """Rows below the header that carry data."""
        return len(self.below())

    def below(self) -> list[tuple[str, ...]]:
        """The rows below the header that are neither blank nor the header again."""
        again = tuple(map(clean, self.rows[0]))
        return [row for row in self.rows[1:] if any(map(str.strip, row)) and tuple(map(clean, row)) != again]


def parse(text: str) -> Written:
    """A table of an adapter's example."""
    return Written(tuple(tuple(row) for row in csv.reader(io.StringIO(text))))


def _with_row(table: Written, place: int, row: tuple[str, ...]) -> Written:
    return replace(table, rows=(*table.rows[:place], row, *table.rows[place + 1 :]))


def _pick(table: Written, random: Random) -> tuple[int, int]:
    """Row below the header, and column; row 0 where there is none."""
    place = random.randrange(1, len(table.rows)) if len(table.rows) > 1 else 0
    return place, random.randrange(len(table.rows[place])) if table.rows[place] else 0


def change_cell(table: Written, random: Random) -> Written:
    """Another word in one cell."""
    place, column = _pick(table, random)
    row = list(table.rows[place])
    if place and column < len(row):
        row[column] = random.choice([random.choice(WORDS), row[column] + random.choice(WORDS)])
    return _with_row(table, place, tuple(row))


def change_column(table: Written, random: Random) -> Written:
    """The same word in every cell of a column."""
    column, word = random.randrange(len(table.rows[0]) or 1), random.choice(WORDS)
    below = [(*row[:column], word, *row[column + 1 :]) if column < len(row) else row for row in table.rows[1:]]
    return replace(table, rows=(table.rows[0], *below))


def repeat_row(table: Written, random: Random) -> Written:
    """A row twice, perhaps with another cell."""
    place, _ = _pick(table, random)
    again = replace(table, rows=(*table.rows, table.rows[place])) if place else table
    return change_cell(again, random) if random.random() < 0.5 else again


def drop_row(table: Written, random: Random) -> Written:
    """A row less."""
    place, _ = _pick(table, random)
    return replace(table, rows=(*table.rows[:place], *table.rows[place + 1 :])) if place else table


def blank_row(table: Written, random: Random) -> Written:
    """A row of empty cells."""
    place, _ = _pick(table, random)
    return replace(table, rows=(*table.rows[: place + 1], ("",) * len(table.rows[0]), *table.rows[place + 1 :]))


def repeat_header(table: Written, _random: Random) -> Written:
    """The header again, as in exports that were joined."""
    return replace(table, rows=(*table.rows, table.rows[0]))


def swap_columns(table: Written, random: Random) -> Written:
    """Two names of the header exchanged."""
    header = list(table.rows[0])
    random.shuffle(header)
    return replace(table, rows=(tuple(header), *table.rows[1:]))


def rename_column(table: Written, random: Random) -> Written:
    """A column with another name, perhaps the name of a second one."""
    header = list(table.rows[0])
    column = random.randrange(len(header) or 1)
    if header:
        header[column] = random.choice([*WORDS, *header, header[column].upper(), f" {header[column]} "])
    return replace(table, rows=(tuple(header), *table.rows[1:]))


def double_column(table: Written, random: Random) -> Written:
    """A column twice, perhaps with other cells."""
    column = random.randrange(len(table.rows[0]) or 1)
    changed = random.random() < 0.5
    rows = [
        (*row, f"{row[column]}x" if changed and place else row[column]) if column < len(row) else row
        for place, row in enumerate(table.rows)
    ]
    return replace(table, rows=tuple(rows))


def index_column(table: Written, _random: Random) -> Written:
    """pandas' unnamed first column."""
    return replace(table, rows=tuple((str(place - 1) if place else "", *row) for place, row in enumerate(table.rows)))


def tear_row(table: Written, random: Random) -> Written:
    """A row with a cell too many or too few."""
    place, column = _pick(table, random)
    row = table.rows[place]
    torn = (*row, random.choice(WORDS)) if random.random() < 0.5 else row[:column]
    return replace(_with_row(table, place, torn), torn=True) if place else table


def change_dialect(table: Written, random: Random) -> Written:
    """Another separator, encoding and line end."""
    return replace(
        table,
        separator=random.choice(SEPARATORS),
        encoding=random.choice(ENCODINGS),
        line_end=random.choice(["\n", "\r\n", "\r"]),
    )


def damage_bytes(table: Written, random: Random) -> Written:
    """Bytes cut, inserted, exchanged or replaced."""
    kind, seed = random.randrange(5), random.randrange(2**32)

    def damage(data: bytes) -> bytes:
        own = Random(seed)
        place = own.randrange(len(data) + 1)
        if kind == 0:
            return data[:place]
        if kind == 1:
            return data[:place] + own.choice([b'"', b"\0", b"\xff", b",", b"\n", b"\xef\xbb\xbf"]) + data[place:]
        if kind == 2:
            return data[:place] + own.randbytes(own.randrange(1, 40)) + data[place + 20 :]
        if kind == 3:
            return own.choice([b"", b"\n", b"PK\3\4" + data, b"<html>" + data, b"%PDF-1.4" + data, b"\x1f\x8b" + data])
        return own.randbytes(own.randrange(200))

    return replace(table, damage=damage)


MUTATIONS = (
    change_cell, change_cell, change_column, repeat_row, drop_row, blank_row, repeat_header, swap_columns,
    rename_column, double_column, index_column, tear_row, change_dialect, damage_bytes,
)  # fmt: skip


def mutate(table: Written, seed: int) -> Written:
    """One to four mutations, drawn from a seed."""
    random = Random(seed)
    for _ in range(random.randrange(1, 5)):
        table = random.choice(MUTATIONS)(table, random)
    return table
