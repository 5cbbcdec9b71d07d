"""The curve of a learning-rate range test: loss over learning rate, with the suggested peak."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from components.report.figures import FONT_SIZE, INK, PALETTE, PANEL_WIDTH, plain_axes

if TYPE_CHECKING:
    from components.training.range_test import RangeTest

HEADROOM = 1.6
"""Height of the axis as a multiple of (first loss - lowest loss): a loss that diverges would flatten the rest."""


def draw(test: RangeTest) -> Figure:
    """The loss of each step as points, the smoothed loss as a line, the suggested rate as a vertical line."""
    figure = Figure(figsize=(PANEL_WIDTH, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.plot(test.rates, test.losses, linestyle="", marker="o", markersize=2.2, color=PALETTE[0], alpha=0.35)
    axes.plot(test.rates, test.smoothed, color=PALETTE[0], linewidth=1.8)
    axes.axvline(test.suggestion, color=INK, linewidth=0.9, linestyle=(0, (3, 2)))
    start, finite = test.smoothed[0], [loss for loss in test.losses if math.isfinite(loss)]
    lowest = min(finite)
    top = max(start + (HEADROOM - 1) * (start - lowest), *finite[: 1 + len(test.losses) // 2])
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(lowest - 0.06 * (top - lowest), top))
    axes.annotate(
        f"peak {test.suggestion:.1e}", (test.suggestion, axes.get_ylim()[1]), (4, -2), textcoords="offset points",
        va="top", color=INK, fontsize=FONT_SIZE,
    )  # fmt: skip
    axes.xaxis.set_major_formatter("{x:g}")  # the default of a logarithmic axis writes formulas
    plain_axes(axes)
    return figure
