"""Forms of a card: statements, escaped text, and the page with the card's own text."""

from __future__ import annotations

import re
from contextlib import chdir
from html.parser import HTMLParser
from pathlib import Path

import pytest

from components.cards import page as cards_page
from components.cards.settings import CardSettings
from components.report.page import PAGES as PAGES_OF_STUDY
from flows.cards import cards
from tests.unit.cards.simulated_run import (
    PAGES,
    UNSTATED,
    arguments,
    read_text,
    table_below,
)


def test_missing_statements_are_shown_as_not_stated(folder: Path) -> None:
    for name in ("model_card.md", "data_sheet.md"):
        assert dict(table_below(read_text(folder, name), "What a person must fill in")) == dict.fromkeys(
            cards_page.STATED.values(), "**not stated**"
        )
        assert "Not stated by its owner: owner, contact, intended use" in read_text(folder, name)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("name", ["model_card", "data_sheet"])
def test_the_page_has_the_cards_text_and_loads_nothing_from_the_network(folder: Path, name: str) -> None:
    reader, text = _Reader(), read_text(folder, f"{name}.html")
    reader.feed(text)
    assert reader.open == []
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("h1") == 1
    title = re.search("<title>(.+)</title>", text)
    assert title and f"<h1>{title[1]}</h1>" in text
    assert not {"script", "img", "link", "iframe"} & set(tags)
    assert not re.search("https?:", text)
    card = cards_page.without_front_matter(read_text(folder, f"{name}.md"))
    plain = re.sub(r"\\(.)", r"\1", re.sub(r"\n[|>-]+ ?|[|*`#]|-{3,}", " ", card))
    missing = set(plain.split()) - set(reader.words.split())
    assert not {word for word in missing if re.search(r"\w", word)}
    cells = [given for tag, given in reader.tags if tag == "td"]
    assert cells and all(given["data-name"] for given in cells)  # for narrow screens
    assert "Not a medical device." in reader.words


def test_text_from_outside_is_no_markup(folder: Path, repo: Path) -> None:
    statements = UNSTATED | {"notes": "a | b\n\n# c <script>alert(1)</script> [d](http://e) `f` *g*"}
    with chdir(folder):
        kept = {name: read_text(folder, name) for name in PAGES}
        cards.work(**arguments(repo, cards=CardSettings(**statements)))
        found = {name: read_text(folder, name) for name in PAGES}
        for name, text in kept.items():
            (folder / "reports" / name).write_text(text)
    for name in ("model_card", "data_sheet"):
        stated = dict(table_below(found[f"{name}.md"], "What a person must fill in"))
        assert stated["Notes"] == "a | b # c <script>alert(1)</script> [d](http://e) `f` *g*"
        assert "<script" not in found[f"{name}.html"]
        assert set(re.findall(r'href="([^"]*)"', found[f"{name}.html"])) == set(PAGES_OF_STUDY)
        assert "&lt;script&gt;alert(1)" in found[f"{name}.html"]
    assert "palm | sole <b>" in [row[1] for row in table_below(found["data_sheet.md"], "By attribute")]


def test_every_statement_of_the_settings_has_a_title() -> None:
    assert set(cards_page.STATED) == set(CardSettings.model_fields)


@pytest.mark.parametrize("name", ["model_card", "data_sheet"])
def test_all_rows_of_a_table_have_the_same_number_of_cells(folder: Path, name: str) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", read_text(folder, f"{name}.md"), re.MULTILINE)
    assert len(tables) >= 6
    for table in tables:
        rows = [re.split(r"(?<!\\)\|", row) for row in table.splitlines()]
        assert len({len(row) for row in rows}) == 1, table
        assert all(set(cell) == {"-"} for cell in rows[1][1:-1])


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ({"kind": "efficientnet_lite0"}, "efficientnet_lite0"),
        ({"kind": "timm", "name": "resnet18"}, "timm, name resnet18"),
        ({"kind": "pca", "components": 64, "side": 32}, "pca, components 64, side 32"),  # numbers, not text
    ],
)
def test_every_kind_of_architecture_is_written(backbone: dict[str, object], words: str) -> None:
    assert cards_page.architecture(backbone) == words
