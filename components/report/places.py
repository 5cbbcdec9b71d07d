"""Places on a page that a later stage fills: the page stays whole without it, and is not made again for it."""

from __future__ import annotations

from markupsafe import Markup

from components.base.errors import DataError

EXTERNAL = "external test sets"
"""On the page of the comparison; the stage `index` fills it."""


def place(name: str) -> Markup:
    """A comment that marks a place on a page; `name` is a few words."""
    return Markup(f"<!-- place: {name} -->")


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
