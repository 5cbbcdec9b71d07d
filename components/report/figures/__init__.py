"""Figures that several pages draw, one a module with a function `draw` that returns a matplotlib Figure.

This module holds what all figures of the project share: a colour for each arm, text and grid colours, font size, and
how a figure is saved.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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

LONGEST_NAME = 32
"""Letters of a class or another free name in a figure: a longer one would leave no space for what is drawn."""


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


def short_names(names: Sequence[str], longest: int = LONGEST_NAME) -> list[str]:
    """Free texts, such as class names, as labels: each on one line, a longer one without its middle, all distinct.

    Args:
        names: distinct texts.
        longest: letters of a label, of which the number that tells two equal labels apart is not a part.
    """
    shown = [shorten(name, longest) for name in names]
    return [
        label if shown.count(label) == 1 else f"{label} ({shown[:place].count(label) + 1})"
        for place, label in enumerate(shown)
    ]


def shorten(name: str, longest: int = LONGEST_NAME) -> str:
    """A free text on one line of at most `longest` letters, without its middle where it is longer."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    tail = longest // 3
    return line if len(line) <= longest else f"{line[: longest - tail - 1]}…{line[-tail:]}"


def save(figure: Figure, target: str | Path | IO[Any], **options: Any) -> None:
    """Write a figure in which every text is shown as it is: matplotlib draws text between two `$` as a formula.

    Every figure is saved through this function, whichever module drew it.

    Args:
        figure: its texts are changed to plain ones.
        target: a file, or an object to write to.
        options: of `Figure.savefig`.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    # the context is for labels of axes, which are made while the figure is drawn
    with rc_context({"text.parse_math": False, "text.usetex": False}), warnings.catch_warnings():
        # a page's reader has a font for each letter; where ours lacks one, the picture in MLflow shows a box
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        for text in figure.findobj(Text):
            text.set_parse_math(False)
            text.set_usetex(False)
        figure.savefig(target, **options)
