"""Figures that several pages draw, one a module with a function `draw` that returns a matplotlib Figure.

This module holds what all figures of the project share: a colour for each arm, text and grid colours, font size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
"""Distinct with every common colour vision deficiency (Okabe & Ito 2008), on white and on near-black."""

INK = "#22303c"
"""Text and axes. A page replaces it with its own text colour."""

GRID_COLOUR = "#c9d1d9"
"""Grid lines. A page replaces it with its own line colour."""

PANEL_WIDTH = 4.2
"""Inches of one panel; narrow, so that text keeps about its size on a phone's screen."""

FONT_SIZE = 9.5
"""Points."""


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """One colour for each arm by its position in the study, the same in every figure and table."""
    return {arm: PALETTE[place % len(PALETTE)] for place, arm in enumerate(arms)}


def plain_axes(axes: Axes, grid: str = "y") -> None:
    """The axes' common style: no box, light grid lines across one axis.

    Args:
        axes: changed in place; titles and labels must be set before.
        grid: `x` or `y`, the axis whose ticks get grid lines.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=FONT_SIZE, length=3)
    axes.grid(axis="x" if grid == "x" else "y", color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(INK)
        label.set_fontsize(FONT_SIZE)
