"""Images in rows and columns with their names, such as corruptions by strength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from components.report.figures import FONT_SIZE, INK

Image = np.ndarray[Any, np.dtype[np.uint8]]

TILE = 0.82
"""Inches, the side of one image."""

GAP = 0.06
"""Share of a tile's side, between images."""

ROW_LABEL = 0.98
"""Inches for the names of the rows."""

COLUMN_LABEL = 0.28
"""Inches for the names of the columns."""


def draw(pictures: Sequence[Sequence[Image]], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """A figure of images.

    Args:
        pictures: (S, S, 3) uint8 RGB, by row and column.
        rows: names; may be empty texts.
        columns: names; may be empty texts.

    Raises:
        ValueError: where the numbers of images and names differ.
    """
    if len(pictures) != len(rows) or any(len(row) != len(columns) for row in pictures):
        raise ValueError(
            f"{[len(row) for row in pictures]} pictures a row for {len(rows)} rows, {len(columns)} columns"
        )
    across, down = (count * (1 + GAP) - GAP for count in (len(columns), len(rows)))
    width, height = ROW_LABEL + TILE * across, COLUMN_LABEL + TILE * down
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((ROW_LABEL / width, 0, TILE * across / width, TILE * down / height))
    axes.set(xlim=(0, across), ylim=(down, 0))
    axes.set_axis_off()
    for row, images in enumerate(pictures):
        top = row * (1 + GAP)
        for column, image in enumerate(images):
            left = column * (1 + GAP)
            axes.imshow(image, extent=(left, left + 1, top + 1, top), interpolation="nearest", aspect="auto")
        axes.text(-0.1, top + 0.5, rows[row], ha="right", va="center", color=INK, fontsize=FONT_SIZE - 1)
    for column, name in enumerate(columns):
        axes.text(column * (1 + GAP) + 0.5, -0.08, name, ha="center", va="bottom", color=INK, fontsize=FONT_SIZE - 1)
    axes.set(xlim=(0, across), ylim=(down, 0))
    return figure
