"""Means with their intervals, one line an arm: dots and whiskers against a line or a band to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.report.figures import INK, PANEL_WIDTH, plain_axes


@dataclass(frozen=True)
class Dot:
    """One mean with its interval; an end that is not finite has no whisker."""

    label: str
    colour: str
    mean: float
    low: float
    high: float
    seeds: Sequence[float] = ()  # single values, drawn faintly
    parts: Sequence[tuple[float, float]] = ()  # intervals of single sources, thin below: solid, then dotted


def draw(dots: Sequence[Dot], title: str, line: float | None = None, margin: float = 0.0) -> Figure:
    """Dots from top to bottom; `line` is what to compare with (chance, zero), `margin` the band around it."""
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
    axes.set_yticks(range(len(dots)), [dot.label for dot in dots])
    axes.set_ylim(len(dots) - 0.4, -0.6)
    axes.set_xlabel(title)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    plain_axes(axes, grid="x")
    return figure
