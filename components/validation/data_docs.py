"""Great Expectations' Data Docs as one page for people: offline, without scripts, in plain sentences.

Its own pages fetch styles, scripts and pictures from the network, hide what they say without them, and carry
times. What its validation page says is read from there and written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import groupby
from typing import NamedTuple

from components.report.page import render


class Row(NamedTuple):
    """One expectation as Great Expectations' page has it."""

    number: int  # from 1
    success: bool
    sentence: str


class Topic(NamedTuple):
    """What expectations have in common."""

    title: str
    about: str  # one sentence


class Line(NamedTuple):
    """One expectation as a person reads it."""

    topic: Topic
    measure: str
    found: str
    expected: str
    mend: str
    success: bool


def read_rows(html: str) -> list[Row]:
    """Every expectation of a validation page, by number: its rows of status, `7. sentence` and observed value."""
    page = _Tables()
    page.feed(html)
    page.close()
    texts = [[" ".join("".join(cell).split()) for cell in row] for row in page.rows]
    rows = zip(texts, page.good, strict=True)
    parts = [(cells[1].partition(". "), good) for cells, good in rows if len(cells) == 3]
    return sorted(Row(int(number), good, sentence) for (number, _, sentence), good in parts)


class _Tables(HTMLParser):
    """Cells of every outer table; a table within a cell lists samples of single values, and is passed over."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[list[str]]] = []
        self.good: list[bool] = []  # whether the row shows the icon of success
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.depth += tag == "table"
        if self.depth == 1 and tag == "tr":
            self.rows.append([])
            self.good.append(False)
        elif self.depth == 1 and tag == "td":
            self.rows[-1].append([])
        elif tag == "i" and self.good and "text-success" in str(dict(attrs).get("class")):
            self.good[-1] = True

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag == "table"

    def handle_data(self, data: str) -> None:
        if self.depth == 1 and self.rows and self.rows[-1]:
            self.rows[-1][-1].append(data)


def rewrite(html: str, title: str, lines: Sequence[Line], version: str) -> str:
    """A validation page in our form; `lines` are its expectations in the order of their numbers.

    Raises RuntimeError where the page does not say of each line what the line says.
    """
    said = [(row.number, row.success) for row in read_rows(html)]
    if said != [(number, line.success) for number, line in enumerate(lines, start=1)]:
        raise RuntimeError(
            f"Great Expectations {version} lays its pages out in another way: {len(said)} of {len(lines)} "
            "expectations were read, or with another result; mend components/validation/data_docs.py"
        )
    failed = [line for line in lines if not line.success]
    topics = [(topic, list(part)) for topic, part in groupby(lines, lambda line: line.topic)]
    values = {"title": title, "failed": failed, "topics": topics, "total": len(lines), "version": version}
    return render("validation/data_docs.html.j2", {}, **values)
