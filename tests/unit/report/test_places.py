"""Places on a page that a later stage fills."""

from __future__ import annotations

import pytest

from components.base.errors import DataError
from components.report.places import MADE, fill, place, stamp


def test_a_place_shows_nothing_until_it_is_filled() -> None:
    page = f"<p>a</p>{place('more')}<p>b</p>"
    assert str(place("more")).startswith("<!--") and str(place("more")).endswith("-->")
    assert fill(page, "more", "<p>&amp; 1</p>", "a.html") == "<p>a</p><p>&amp; 1</p><p>b</p>"


def test_a_later_stage_replaces_the_stamp_of_an_earlier_one() -> None:
    first = stamp(f"<p>a</p>{place(MADE)}", "Made on <Monday>.", "a.html")
    assert first == '<p>a</p><p class="made">Made on &lt;Monday&gt;.</p>'
    assert stamp(first, "Made on Tuesday.", "a.html") == '<p>a</p><p class="made">Made on Tuesday.</p>'


@pytest.mark.parametrize(("page", "count"), [("<p>", 0), (f"{place(MADE)}{place(MADE)}", 2)])
def test_a_page_that_cannot_be_stamped_is_named(page: str, count: int) -> None:
    with pytest.raises(DataError, match=rf"reports/a.html: has {count} places for 'when and from what .* expected 1"):
        stamp(page, "Made today.", "reports/a.html")


@pytest.mark.parametrize(("page", "count"), [("<p>", 0), (f"{place('more')}{place('more')}", 2), (str(place("x")), 0)])
def test_a_page_without_the_place_or_with_two_is_named(page: str, count: int) -> None:
    with pytest.raises(DataError, match=rf"reports/a.html: has {count} places for 'more', expected 1"):
        fill(page, "more", "<p>", "reports/a.html")
