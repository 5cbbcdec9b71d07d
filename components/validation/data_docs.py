"""Great Expectations' Data Docs as one offline page without scripts, in plain sentences.

Its own pages load styles, scripts and images from the network, do not show their content without them, and contain
times. So the results are read from its validation page and rendered with our template.
"""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import groupby
from typing import NamedTuple

from components.report.page import render


class DocsRow(NamedTuple):
    """One expectation on Great Expectations' page."""

    number: int  # from 1
    success: bool
    sentence: str


class ExpectationTopic(NamedTuple):
    """A heading over several expectations."""

    title: str
    about: str  # one sentence


class ExpectationLine(NamedTuple):
    """One expectation on our page."""

    topic: ExpectationTopic
    measure: str
    found: str
    expected: str
    fix: str
    success: bool


def read_rows(html: str) -> list[DocsRow]:
    """Every expectation of a validation page, by number; its row holds status, `7. sentence` and observed value."""
    page = _Tables()
    page.feed(html)
    page.close()
    texts = [[" ".join("".join(cell).split()) for cell in row] for row in page.rows]
    rows = zip(texts, page.good, strict=True)
    parts = [(cells[1].partition(". "), good) for cells, good in rows if len(cells) == 3]
    return sorted(DocsRow(int(number), good, sentence) for (number, _, sentence), good in parts)


class _Tables(HTMLParser):
    """Cells of every outer table; a table inside a cell lists samples of single values and is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[list[str]]] = []
        self.good: list[bool] = []  # True where the row shows the icon of success
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


def rewrite(html: str, title: str, lines: Sequence[ExpectationLine], version: str) -> str:
    """A validation page rendered with our template.

    Args:
        html: Great Expectations' page.
        title: of our page.
        lines: the expectations in the order of their numbers.
        version: of Great Expectations.

    Raises:
        RuntimeError: the outcomes on the page differ from those of `lines`.
    """
    on_page = [(row.number, row.success) for row in read_rows(html)]
    if on_page != [(number, line.success) for number, line in enumerate(lines, start=1)]:
        raise RuntimeError(
            f"Great Expectations {version} has another page layout: {len(on_page)} of {len(lines)} "
            "expectations were read, or with another outcome; adapt components/validation/data_docs.py"
        )
    failed = [line for line in lines if not line.success]
    topics = [(topic, list(part)) for topic, part in groupby(lines, lambda line: line.topic)]
    values = {"title": title, "failed": failed, "topics": topics, "total": len(lines), "version": version}
    return render("validation/data_docs.html.j2", {}, **values)
