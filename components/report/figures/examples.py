"""Pictures in rows and columns with their names, so that a person sees what was done to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from components.report.figures import FONT_SIZE, INK

Image = np.ndarray[Any, np.dtype[np.uint8]]

TILE = 0.82
"""Inches, the side of one picture."""

GAP = 0.06
"""Of a tile's side, between pictures."""

BESIDE = 0.98
"""Inches for the rows' names."""

ABOVE = 0.28
"""Inches for the columns' names."""


def draw(pictures: Sequence[Sequence[Image]], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """`pictures` (S, S, 3) uint8 RGB by row and column; names may be empty."""
    if len(pictures) != len(rows) or any(len(row) != len(columns) for row in pictures):
        raise ValueError(
            f"{[len(row) for row in pictures]} pictures a row for {len(rows)} rows, {len(columns)} columns"
        )
    across, down = (count * (1 + GAP) - GAP for count in (len(columns), len(rows)))
    width, height = BESIDE + TILE * across, ABOVE + TILE * down
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((BESIDE / width, 0, TILE * across / width, TILE * down / height))
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
