"""The picture of the rooms: equal rooms give equal bytes."""

from __future__ import annotations

import io
from collections import Counter

from matplotlib import rc_context

from docs.rooms import draw

LAYERS = [["comparison", "cards"], ["report"], ["data", "statistics"]]
IMPORTS = {("comparison", "report"): 3, ("comparison", "data"): 1, ("cards", "statistics"): 9, ("report", "data"): 2}


def picture(pairs: list[tuple[tuple[str, str], int]]) -> bytes:
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "test", "svg.fonttype": "none"}):
        draw(LAYERS, Counter(dict(pairs))).savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def test_the_order_in_which_imports_are_found_changes_nothing() -> None:
    pairs = list(IMPORTS.items())
    assert picture(pairs) == picture(pairs[::-1])
    assert picture(pairs) != picture(pairs[:-1])
