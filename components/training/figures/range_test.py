"""How the loss answers to a rising learning rate, and where a peak would stand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from components.report.figures import FONT_SIZE, INK, PALETTE, PANEL_WIDTH, plain_axes

ROOM = 1.6
"""Height of the axis, of the way from the first loss to the lowest: a diverging end would press the rest flat."""


def draw(rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float) -> Figure:
    """Loss of each step as points, smoothed as a line, `suggestion` as an upright."""
    figure = Figure(figsize=(PANEL_WIDTH, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, linestyle="", marker="o", markersize=2.2, color=PALETTE[0], alpha=0.35)
    axes.plot(rates, smoothed, color=PALETTE[0], linewidth=1.8)
    axes.axvline(suggestion, color=INK, linewidth=0.9, linestyle=(0, (3, 2)))
    start, finite = smoothed[0], [loss for loss in losses if math.isfinite(loss)]
    floor = min(finite)
    top = max(start + (ROOM - 1) * (start - floor), *finite[: 1 + len(losses) // 2])
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(floor - 0.06 * (top - floor), top))
    axes.annotate(
        f"peak {suggestion:.1e}", (suggestion, axes.get_ylim()[1]), (4, -2), textcoords="offset points",
        va="top", color=INK, fontsize=FONT_SIZE,
    )  # fmt: skip
    plain_axes(axes)
    return figure
