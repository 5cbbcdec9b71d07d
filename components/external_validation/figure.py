"""One measure of every arm on the internal and on the external test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.report.figures import INK, PANEL_WIDTH, plain_axes, shorten
from components.statistics.intervals import Interval


@dataclass(frozen=True)
class TwoSets:
    """One arm on both test sets."""

    label: str
    colour: str
    internal: Interval
    external: Interval


def draw(rows: Sequence[TwoSets], title: str, line: float | None = None, unit: float = 1.0) -> Figure:
    """Hollow: internal; filled, below it: external; each with its interval. The dashed `line` is chance."""
    figure = Figure(figsize=(PANEL_WIDTH, 0.75 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    if line is not None:
        axes.axvline(unit * line, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for place, row in enumerate(rows):
        _mark(axes, place - 0.14, row.internal, row.colour, unit, hollow=True)
        _mark(axes, place + 0.14, row.external, row.colour, unit, hollow=False)
    axes.set_yticks(range(len(rows)), [shorten(row.label, 40) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(title)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    plain_axes(axes, grid="x")
    return figure


def _mark(axes: Axes, place: float, found: Interval, colour: str, unit: float, *, hollow: bool) -> None:
    if found.known:
        style = (0, (1, 1)) if hollow else "solid"
        axes.plot([unit * found.low, unit * found.high], [place] * 2, color=colour, linewidth=1.8, linestyle=style)
    if np.isfinite(found.mean):
        face = "#ffffff" if hollow else colour
        axes.plot([unit * found.mean], [place], "o", color=colour, markersize=6, markerfacecolor=face)
