"""One figure a file: each has a `draw(...)` that takes data and returns a matplotlib Figure.

What all figures share stands here: one colour an arm, one ink, one size of letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
"""Told apart with every common colour vision (Okabe & Ito 2008), readable on white and on near-black."""

INK = "#22303c"
"""Letters and axes; the report turns it into the page's own text colour."""

RULE = "#c9d1d9"
"""Grid lines; the report turns it into the page's own line colour."""

WIDTH = 4.2
"""Inches of one panel: on a phone's screen its letters keep about their size."""

LETTERS = 9.5
"""Points."""


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """One colour an arm, by its place in the study, the same in every figure and table."""
    return {arm: PALETTE[place % len(PALETTE)] for place, arm in enumerate(arms)}


def plain_axes(axes: Axes, grid: str = "y") -> None:
    """Ink and grid as in every figure: no box, light lines along one axis (`x` or `y`)."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=LETTERS, length=3)
    axes.grid(axis="x" if grid == "x" else "y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(INK)
        label.set_fontsize(LETTERS)
