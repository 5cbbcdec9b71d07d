"""Means with intervals, one line an arm, next to a reference line such as chance or zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.report.figures import INK, LONGEST_NAME, PANEL_WIDTH, plain_axes, shorten
from components.statistics.intervals import Interval

LONGEST_LABEL = LONGEST_NAME + 8
"""Letters of a line's label, of which an arm's name is a part."""


@dataclass(frozen=True)
class Dot:
    """One mean with its interval; without a whisker where an end of the interval is not finite."""

    label: str
    colour: str
    mean: float
    low: float
    high: float
    seeds: Sequence[float] = ()
    """Values of single seeds, drawn faintly."""
    parts: Sequence[tuple[float, float]] = ()
    """Intervals of single sources of variance, drawn thin below: solid, then dotted."""


def dot_with_sources(label: str, colour: str, interval: Interval, *, reaches: Sequence[float], unit: float = 1) -> Dot:
    """A dot with the interval over lesions and seeds, and below it what either contributes alone.

    Args:
        label: of the line.
        colour: of dot and whiskers.
        interval: over lesions and seeds together.
        reaches: half widths by lesions alone and by seeds alone; NaN is not drawn.
        unit: factor of all values, 100 for points of a share.
    """
    parts = [(unit * (interval.mean - reach), unit * (interval.mean + reach)) for reach in reaches]
    return Dot(label, colour, unit * interval.mean, unit * interval.low, unit * interval.high, parts=parts)


def draw(dots: Sequence[Dot], title: str, line: float | None = None, margin: float = 0.0) -> Figure:
    """A figure of dots from top to bottom.

    Args:
        dots: one a line.
        title: of the x axis, with its unit.
        line: value to compare with, dashed.
        margin: half width of the grey band around `line`.
    """
    figure = Figure(figsize=(PANEL_WIDTH, 0.75 + 0.3 * len(dots)), layout="constrained")
    axes = figure.subplots()
    if line is not None:
        axes.axvspan(line - margin, line + margin, color=INK, alpha=0.08, linewidth=0)
        axes.axvline(line, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for place, dot in enumerate(dots):
        if np.isfinite([dot.low, dot.high]).all():
            axes.plot([dot.low, dot.high], [place, place], color=dot.colour, linewidth=2.2, solid_capstyle="round")
        for below, (low, high) in enumerate(dot.parts):
            if np.isfinite([low, high]).all():
                at, style = place + 0.2 + 0.14 * below, ("solid", (0, (1, 1.2)))[below % 2]
                axes.plot([low, high], [at, at], color=dot.colour, linewidth=1.3, linestyle=style)
        axes.plot(dot.seeds, [place] * len(dot.seeds), "|", color=dot.colour, alpha=0.6, markersize=9)
        axes.plot([dot.mean], [place], "o", color=dot.colour, markersize=6)
    axes.set_yticks(range(len(dots)), [shorten(dot.label, LONGEST_LABEL) for dot in dots])
    axes.set_ylim(len(dots) - 0.4, -0.6)
    axes.set_xlabel(title)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    plain_axes(axes, grid="x")
    return figure
