"""Confusion matrix: rows are the true class, columns the predicted one, percent of the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from components.report.figures import FONT_SIZE, INK, short_names

PER_CLASS = 0.42
"""Inches of one cell."""


def draw(counts: npt.NDArray[Any], classes: Sequence[str], colour: str) -> Figure:
    """The figure of one matrix.

    Args:
        counts: (K, K), rows are the true class; the row of a class without images stays empty.
        classes: in the order of the rows.
        colour: of the highest share.
    """
    side = 1.0 + PER_CLASS * len(classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)  # (K, K)
    axes.pcolormesh(np.nan_to_num(shares), cmap=_to(colour), vmin=0, vmax=1, edgecolors="#dde3e8", linewidth=0.4)
    for row, column in np.argwhere(np.nan_to_num(shares) >= 0.005):
        share = shares[row, column]
        ink = "#ffffff" if share > 0.55 else "#1b1f24"  # on the cell, whose colour does not follow the page
        text = f"{100 * share:.0f}"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink, fontsize=FONT_SIZE - 1)
    places, names = np.arange(len(classes)) + 0.5, short_names(classes)
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names)
    axes.set_ylim(len(classes), 0)
    axes.set_aspect("equal")
    axes.set_xlabel("predicted class", color=INK, fontsize=FONT_SIZE)
    axes.set_ylabel("true class", color=INK, fontsize=FONT_SIZE)
    axes.tick_params(colors=INK, labelsize=FONT_SIZE, length=0)
    axes.spines[:].set_visible(False)
    return figure


def _to(colour: str) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("arm", ["#f4f6f8", colour])
