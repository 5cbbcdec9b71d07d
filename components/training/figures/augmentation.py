"""Train images in rows: first as packed, then as each epoch augments them."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from components.report.figures import FONT_SIZE, INK

Image = np.ndarray[Any, np.dtype[np.uint8]]

TILE = 1.15
"""Inches, the side of one image."""

GAP = 0.05
"""Of a tile's side, between images."""

FIRST_GAP = 0.18
"""Of a tile's side, the further gap between the first column and the others."""

HEADER = 0.42
"""Inches, for the columns' names."""

LINE = 0.2
"""Inches, a line of the title."""

EDGE = 0.1
"""Inches, the margin on the right and at the bottom."""

SECONDARY = "#66737f"
"""Colour of secondary text, as on the pages."""


def draw(
    originals: Sequence[Image],
    drawn: Sequence[Sequence[Image | None]],
    *,
    rows: Sequence[tuple[str, str]],
    columns: Sequence[str],
    title: str,
) -> Figure:
    """The figure, a row an image.

    Args:
        originals: packed images (S, S, 3) RGB uint8 by row.
        drawn: augmented images by column and row; None where the epoch did not draw the image.
        rows: two lines of text for each row.
        columns: a name for each column of `drawn`.
        title: wrapped to the width.
    """
    words = wrap(title, int(TILE * (_left(len(columns)) + 1) / (0.0075 * (FONT_SIZE + 0.5))))
    figure, axes = _canvas(len(rows), len(columns), max(len(line) for pair in rows for line in pair), len(words))
    for column, images in enumerate([originals, *drawn]):
        for row, image in enumerate(images):
            _tile(axes, image, _left(column), row * (1 + GAP))
    for column, name in enumerate(["as packed", *columns]):
        axes.text(_left(column) + 0.5, -0.06, name, ha="center", va="bottom", color=INK, fontsize=FONT_SIZE)
    for row, (name, more) in enumerate(rows):
        _name(axes, name, more, row * (1 + GAP) + 0.5)
    axes.text(0, -0.3, "\n".join(words), va="bottom", color=INK, fontsize=FONT_SIZE + 0.5, linespacing=1.3)
    return figure


def _left(column: int) -> float:
    """The left edge, in tiles."""
    return column * (1 + GAP) + (FIRST_GAP if column else 0)


def _canvas(rows: int, columns: int, letters: int, lines: int) -> tuple[Figure, Any]:
    """Axes in units of tiles, with space for `letters` letters on the left and `lines` lines above."""
    across, down = _left(columns) + 1, rows * (1 + GAP) - GAP
    label_width = 0.2 + 0.008 * FONT_SIZE * letters
    width, height = label_width + TILE * across + EDGE, HEADER + LINE * lines + TILE * down + EDGE
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((label_width / width, EDGE / height, TILE * across / width, TILE * down / height))
    axes.set(xlim=(0, across), ylim=(down, 0))
    axes.set_axis_off()
    return figure, axes


def _tile(axes: Any, image: Image | None, left: float, top: float) -> None:
    """Draw the image without interpolation, so that it shows exactly the pixels of training."""
    if image is None:
        axes.text(left + 0.5, top + 0.5, "not drawn", ha="center", va="center", color=SECONDARY, fontsize=FONT_SIZE - 1)
    else:
        where = (left, left + 1, top + 1, top)
        axes.imshow(image, extent=where, interpolation="nearest", aspect="auto", clip_on=False)


def _name(axes: Any, name: str, more: str, middle: float) -> None:
    axes.text(-0.1, middle - 0.02, name, ha="right", va="bottom", color=INK, fontsize=FONT_SIZE, fontweight="bold")
    axes.text(-0.1, middle + 0.02, more, ha="right", va="top", color=SECONDARY, fontsize=FONT_SIZE - 2)
