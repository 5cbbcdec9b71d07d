"""Double quotes in a CSV file: where one opens, and rows that a quote without a partner made a part of one cell."""

from __future__ import annotations

from collections.abc import Sequence


def opening_line(lines: Sequence[str], separator: str, *, blanks: bool) -> int:
    """The place among some lines where the last cell in quotes begins.

    Args:
        lines: of one record, with their line ends, from its first line on.
        separator: between cells.
        blanks: whether blanks between separator and quote do not count (csv's skipinitialspace).
    """
    opened, state = 0, _BEGIN
    for number, line in enumerate(lines):
        for letter in line:
            if letter == '"' and state in (_BEGIN, _INSIDE, _CLOSED):
                opened = number if state == _BEGIN else opened
                state = (
                    _CLOSED if state == _INSIDE else _INSIDE
                )  # a second quote behind the first is a part of the text
            elif state != _INSIDE:
                begins = letter == separator or letter in "\r\n" or (blanks and state == _BEGIN and letter == " ")
                state = _BEGIN if begins else _PLAIN
    return opened


_BEGIN, _PLAIN, _INSIDE, _CLOSED = range(4)  # of a cell: at its begin, without quotes, in quotes, behind a quote


def holds_rows(cells: Sequence[str], width: int, separator: str) -> bool:
    """Whether a record of several lines contains whole rows: each further line has the separators of a row.

    Args:
        cells: of the record.
        width: number of cells of the header.
        separator: between cells; one with a blank behind it is punctuation of a text.
    """
    place = next((place for place, cell in enumerate(cells) if "\n" in cell or "\r" in cell), None)
    if place is None or width < 2:
        return False
    _, *further = cells[place].splitlines()
    if not further:
        return False
    further[-1] = separator.join([further[-1], *cells[place + 1 :]])
    return all(_separators(line, separator) == width - 1 for line in further)


def _separators(line: str, separator: str) -> int:
    return line.count(separator) - line.count(f"{separator} ")
