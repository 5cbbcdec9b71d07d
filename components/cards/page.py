"""Forms of a card: one Markdown text, filled from a run's files, and the same text as an HTML page.

Text from outside (diagnoses, sites, statements in params.yaml) is escaped: it is no markup in Markdown or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from io import StringIO
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup
from ruamel.yaml import YAML

from components.cards.settings import CardSettings
from components.data.vocabulary import diagnosis_name
from components.report import page
from components.report.formatting import count, decimals, interval_range, number, percent, points, signed
from components.report.wording import of_units
from components.statistics.intervals import read_interval

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
"""Titles of what a person must state, by its key in the section `cards` of params.yaml."""


def fill(template: str, **values: object) -> str:
    """A Markdown template filled with values, which are escaped except in `Markup`.

    Args:
        template: path below `components`, such as `cards/model_card.md.j2`.
        values: variables of the template, by name.
    """
    environment = Environment(
        loader=FunctionLoader(lambda name: files("components").joinpath(name).read_text("utf-8")),
        autoescape=False,  # Markdown: `finalize` escapes
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "code": code,
        "count": count,
        "listed": listed,
        "architecture": architecture,
        "of_units": of_units,
        "spelled": spelled,
    }
    return environment.get_template(template).render(values).strip() + "\n"


def spelled(names: Sequence[str]) -> str:
    """`mel (melanoma), nv (naevus)`; a name that is no short form stands alone."""
    words = [(name, diagnosis_name(name)) for name in names]
    return ", ".join(name if name == word else f"{name} ({word})" for name, word in words)


def escape(value: object) -> str:
    """The value as text on one line in which no character is Markdown or HTML; Markup is not changed."""
    if isinstance(value, Markup):
        return str(value)
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(str(value).split()))


def code(text: object) -> Markup:
    """Text in a code span; pipes are escaped, since they end a table's cell."""
    return Markup("`" + " ".join(str(text).split()).replace("`", "'").replace("|", "\\|") + "`")


def listed(names: Sequence[str]) -> str:
    """`a, b, c`; `none` for an empty list."""
    return ", ".join(names) or "none"


def architecture(backbone: Mapping[str, object]) -> str:
    """A backbone with its settings, `pca, components 64, side 32`."""
    settings = [f"{name} {value}" for name, value in backbone.items() if name != "kind"]
    return ", ".join([str(backbone["kind"]), *settings])


def stated(settings: CardSettings) -> dict[str, object]:
    """A person's statements by title; `not stated` for missing ones."""
    return {title: getattr(settings, key) or NOT_STATED for key, title in STATED.items()}


def missing_statements(settings: CardSettings) -> list[str]:
    """Titles of the missing statements in small letters; notes may be missing."""
    return [title.lower() for key, title in STATED.items() if key != "notes" and not getattr(settings, key)]


# --- numbers


def share(found: Mapping[str, float | None]) -> str:
    """`71.3 % (56.8 to 84.2)`."""
    known = read_interval(found)
    return f"{percent(known.mean)} % ({interval_range(known, percent)})"


def plain_number(found: Mapping[str, float | None]) -> str:
    """`0.842 (0.801 to 0.880)`."""
    known = read_interval(found)
    return f"{number(known.mean)} ({interval_range(known)})"


def signed_number(found: Mapping[str, float | None]) -> str:
    """`+0.042 (−0.101 to +0.180)`."""
    known = read_interval(found)
    return f"{signed(known.mean)} ({interval_range(known, signed)})"


def per_thousand(found: Mapping[str, float | None]) -> str:
    """A mean of images, of 1,000 images: `+12.3 (−2.0 to +20.1)`."""
    known = read_interval(found)

    def form(value: float) -> str:
        return decimals(1000 * value, 1, sign=True)

    return f"{form(known.mean)} ({interval_range(known, form)})"


def difference(found: Mapping[str, float | None]) -> str:
    """In percentage points: `+2.1 (−0.3 to +4.5)`."""
    known = read_interval(found)
    return f"{points(known.mean)} ({interval_range(known, points)})"


# --- front matter


def front_matter(data: Mapping[str, Any]) -> Markup:
    """A YAML block for the top of a card, in the form that Hugging Face reads."""
    yaml, text = YAML(typ="safe"), StringIO()
    yaml.default_flow_style, yaml.width = False, 4096
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # ruamel declares it as None
    yaml.dump(dict(data), text)
    return Markup(f"---\n{text.getvalue()}---\n")


def without_front_matter(card: str) -> str:
    """The card without its front matter."""
    return re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL).lstrip()


# --- the page


def as_page(card: str, kind: str, synthetic: bool) -> str:
    """The card as one HTML file that loads nothing from the network.

    Args:
        card: Markdown, with or without front matter; its first line is the title.
        kind: shown above the title, such as `Model card`.
        synthetic: True adds the banner of synthetic data.
    """
    text = without_front_matter(card)
    title = re.sub(r"\\(.)", r"\1", text.splitlines()[0].removeprefix("# "))
    body = Markup(_reader().render(text))  # from escaped text, HTML is disabled
    return page.render("cards/page.html.j2", {}, title=title, kind=kind, body=body, synthetic=synthetic)


def _reader() -> MarkdownIt:
    """CommonMark with tables and without HTML, with the pages' classes."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.core.ruler.push("page classes", _add_classes)
    return reader


def _add_classes(state: StateCore) -> None:
    """Put tables into cards, and quotations into the lead section of the page."""
    tokens: list[Token] = []
    for token in state.tokens:
        if token.type == "table_open":
            token.attrSet("class", "stack")
            tokens.append(_raw("html_block", '<div class="card">\n'))
        if token.type == "blockquote_open":
            token.attrs = {"class": "card lead", "aria-label": "In short"}
        if token.type.startswith("blockquote"):
            token.tag = "section"
        tokens.append(token)
        if token.type == "table_close":
            tokens.append(_raw("html_block", "</div>\n"))
    _name_cells(tokens)
    state.tokens = tokens


def _name_cells(tokens: Sequence[Token]) -> None:
    """Give each cell the title of its column, for narrow screens; the first cell of a row becomes its header.

    A cell's content is wrapped in one element, since the style sheet lays cells out as a grid.
    """
    titles: list[str] = []
    place, table = 0, tokens[0]
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token.type == "table_open":
            titles, table = [], token
        elif token.type == "thead_close" and len(titles) == 2:
            table.attrJoin("class", "pair")  # on a narrow screen the title of its second column is hidden
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
