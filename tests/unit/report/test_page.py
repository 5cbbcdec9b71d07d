"""Templates and inline figures."""

from __future__ import annotations

import re

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure

from components.report.figures import GRID_COLOUR, INK, PALETTE, arms
from components.report.page import FILTERS, inline_svg, render
from components.statistics.intervals import Interval


def _figure() -> Figure:
    return arms.draw([arms.Dot("vae", PALETTE[0], 0.5, 0.4, 0.6)], "accuracy", line=0.3)


def test_the_same_figure_gives_the_same_svg_with_no_ids_that_repeat() -> None:
    first, second = (inline_svg(_figure(), name, "gap") for name in "aa")
    other = inline_svg(_figure(), "b", "gap")
    assert first == second
    ids = re.findall(r' id="([^"]+)"', first)
    assert ids
    assert not set(ids) & set(re.findall(r' id="([^"]+)"', other))


def test_a_label_is_text_and_the_colours_are_the_pages() -> None:
    svg = inline_svg(_figure(), "a", 'VAE "and" <others>')
    assert 'role="img" aria-label="VAE &#34;and&#34; &lt;others&gt;"' in svg
    assert "currentColor" in svg and "var(--rule)" in svg
    assert INK not in svg and GRID_COLOUR not in svg
    assert "http" not in svg


def test_a_template_without_one_of_its_variables_is_refused() -> None:
    with pytest.raises(UndefinedError):
        render("clinical/subgroups.html.j2")


def test_every_page_has_the_number_formats() -> None:
    interval = Interval(0.5, 0.4, 0.6)
    assert FILTERS["percent_range"](interval) == "40.0 to 60.0"
    assert FILTERS["points_range"](interval) == "+40.0 to +60.0"
    assert FILTERS["signed_range"](interval) == "+0.400 to +0.600"
