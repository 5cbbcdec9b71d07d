"""A card is one Markdown text, filled from a run's files; its page is the same text with our look.

Words from outside (diagnoses, sites, what a person wrote in params.yaml) are text wherever they stand: never markup,
neither in Markdown nor in HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from io import StringIO
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup
from ruamel.yaml import YAML

from components.report import page
from components.report.formatting import interval_range, number, percent, points
from components.statistics.intervals import Interval

NOT_STATED = Markup("**not stated**")

STATED = {
    "owner": "Owner",
    "contact": "Contact",
    "intended_use": "Intended use",
    "setting": "Clinical setting, device, years",
    "consent": "Consent",
    "ethics": "Ethics approval",
    "data_licence": "Licence of the images",
    "weights_licence": "Licence of the weights",
    "notes": "Notes",
}
"""What a person must say, by its key in the section `cards` of params.yaml."""


def fill(template: str, **values: object) -> str:
    """A Markdown template of this folder with values in it; every value but Markup is escaped."""
    environment = Environment(
        loader=FunctionLoader(lambda name: files("components").joinpath(name).read_text("utf-8")),
        autoescape=False,  # Markdown: `finalize` escapes
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": code, "count": count, "words": words}
    return environment.get_template(template).render(values).strip() + "\n"


def escape(value: object) -> str:
    """Text in which no character is Markdown or HTML, on one line; Markup stays as it is."""
    if isinstance(value, Markup):
        return str(value)
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(str(value).split()))


def code(text: object) -> Markup:
    """Text as it is typed, in a code span; a pipe would end a table's cell."""
    return Markup("`" + " ".join(str(text).split()).replace("`", "'").replace("|", "\\|") + "`")


def count(value: int) -> str:
    """`10,015`."""
    return f"{value:,}"


def words(names: Sequence[str]) -> str:
    """`a, b, c`, or that there is none."""
    return ", ".join(names) or "none"


def stated(said: Mapping[str, str | None]) -> dict[str, object]:
    """What a person said, by its title; what was not said says so."""
    return {title: said[key] or NOT_STATED for key, title in STATED.items()}


def unsaid(said: Mapping[str, str | None]) -> list[str]:
    """What a person has yet to say, by its title in small letters."""
    return [title.lower() for key, title in STATED.items() if key != "notes" and not said[key]]


# --- numbers


def interval(found: Mapping[str, float | None]) -> Interval:
    """An interval as JSON has it: null is not known."""
    mean, low, high = (found[end] for end in ("mean", "low", "high"))
    return Interval(np.nan if mean is None else mean, -np.inf if low is None else low, np.inf if high is None else high)


def share(found: Mapping[str, float | None]) -> str:
    """`71.3 % (56.8 to 84.2)`."""
    known = interval(found)
    return f"{percent(known.mean)} % ({interval_range(known, percent)})"


def plain_number(found: Mapping[str, float | None]) -> str:
    """`0.842 (0.801 to 0.880)`."""
    known = interval(found)
    return f"{number(known.mean)} ({interval_range(known)})"


def difference(found: Mapping[str, float | None]) -> str:
    """In percentage points: `+2.1 (−0.3 to +4.5)`."""
    known = interval(found)
    return f"{points(known.mean)} ({interval_range(known, points)})"


# --- front matter


def front_matter(data: Mapping[str, Any]) -> Markup:
    """A YAML block, as Hugging Face reads it at the top of a card."""
    yaml, text = YAML(typ="safe"), StringIO()
    yaml.default_flow_style, yaml.width = False, 4096
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # ruamel declares it as None
    yaml.dump(dict(data), text)
    return Markup(f"---\n{text.getvalue()}---\n")


def without_front_matter(card: str) -> str:
    """The card's text alone."""
    return re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL).lstrip()


# --- the page


def as_page(card: str, kind: str, synthetic: bool) -> str:
    """The card as one HTML file that asks nothing of the net; `kind` stands above its title."""
    text = without_front_matter(card)
    title = re.sub(r"\\(.)", r"\1", text.splitlines()[0].removeprefix("# "))
    body = Markup(_reader().render(text))  # built from escaped text, HTML switched off
    return page.render("cards/page.html.j2", {}, title=title, kind=kind, body=body, synthetic=synthetic)


def _reader() -> MarkdownIt:
    """CommonMark and tables, without HTML, in our look."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.core.ruler.push("our look", _dress)
    return reader


def _dress(state: StateCore) -> None:
    """Tables become cards whose cells know their column, for narrow screens; a quotation becomes the answer."""
    dressed: list[Token] = []
    for token in state.tokens:
        if token.type == "table_open":
            token.attrSet("class", "stack")
            dressed.append(_raw("html_block", '<div class="card">\n'))
        if token.type == "blockquote_open":
            token.attrs = {"class": "card lead", "aria-label": "In short"}
        if token.type.startswith("blockquote"):
            token.tag = "section"
        dressed.append(token)
        if token.type == "table_close":
            dressed.append(_raw("html_block", "</div>\n"))
    _name_cells(dressed)
    state.tokens = dressed


def _name_cells(tokens: Sequence[Token]) -> None:
    """Each cell gets its column's title, and one element inside, since it is laid out as a grid; the first heads."""
    titles: list[str] = []
    place, table = 0, tokens[0]
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token.type == "table_open":
            titles, table = [], token
        elif token.type == "thead_close" and len(titles) == 2:
            table.attrJoin("class", "pair")  # its second title says nothing on a narrow screen
        elif token.type == "tr_open":
            place = 0
        elif before.type == "th_open":
            titles.append(token.content)
        elif before.type == "td_open":
            token.children = [_raw("html_inline", "<span>"), *(token.children or ()), _raw("html_inline", "</span>")]
            if place:
                before.attrSet("data-name", titles[place])
            else:
                before.tag = after.tag = "th"
                before.attrSet("scope", "row")
            place += 1


def _raw(kind: str, markup: str) -> Token:
    return Token(kind, "", 0, content=markup)
