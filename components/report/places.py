"""Places on a page that a later stage fills: the page stays whole without it, and is not made again for it."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from components.base.errors import DataError

EXTERNAL = "external test sets"
"""On the page of the comparison; the stage `index` fills it."""


MADE = "when and from what this page was made"
"""At the end of every page; `flows.stage_io.pages` fills it with date and commit."""


def place(name: str) -> Markup:
    """A comment that marks a place on a page; `name` is a few words."""
    return Markup(f"<!-- place: {name} -->")


def stamp(page: str, sentence: str, file: str) -> str:
    """The page with a sentence at its place MADE, or instead of the sentence of an earlier stage.

    Args:
        page: HTML.
        sentence: when and from what the page is made.
        file: path of the page, for the message.

    Raises:
        DataError: where the page has neither, or several.
    """
    found = _STAMP.findall(page)
    if len(found) != 1:
        raise DataError(f"{file}: has {len(found)} places for {MADE!r}, expected 1; run the stage that writes it")
    return page.replace(found[0], f'<p class="made">{escape(sentence)}</p>')


_STAMP = re.compile(rf'{re.escape(str(place(MADE)))}|<p class="made">[^<]*</p>')


def fill(page: str, name: str, content: str, file: str) -> str:
    """The page with HTML at a place.

    Args:
        page: HTML with `place(name)` once.
        name: of the place.
        content: HTML.
        file: path of the page, for the message.

    Raises:
        DataError: where the page has no such place, or several.
    """
    mark = str(place(name))
    if page.count(mark) != 1:
        raise DataError(f"{file}: has {page.count(mark)} places for {name!r}, expected 1; run the stage that writes it")
    return page.replace(mark, content)
