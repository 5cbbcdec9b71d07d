"""A metric by the number of train lesions: for each arm a line with the band of its interval, over a log axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from components.report.figures import INK, PANEL_WIDTH, plain_axes
from components.statistics.intervals import Interval

LABEL_DISTANCE = 0.12
"""Share of the axis: tick labels that are nearer would overlap, so the smaller number gets none."""


def draw(
    lesions: Sequence[int],
    curves: Mapping[str, Sequence[Interval]],
    title: str,
    colours: Mapping[str, str],
    *,
    unit: float = 1.0,
    line: float | None = None,
) -> Figure:
    """`curves` has for each arm an interval at each of `lesions`, shown times `unit`; `line` is dashed."""
    figure = Figure(figsize=(PANEL_WIDTH, 3.1), layout="constrained")
    axes = figure.subplots()
    if line is not None:
        axes.axhline(line, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for arm, intervals in curves.items():
        _line(axes, lesions, intervals, colours[arm], unit)
    axes.set_xscale("log")
    shown = _labelled(lesions)
    axes.set_xticks(shown, [f"{count:,}" for count in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="train lesions", ylabel=title)
    plain_axes(axes)
    return figure


def _labelled(lesions: Sequence[int]) -> list[int]:
    shown = [lesions[-1]]
    for count in lesions[-2::-1]:
        if np.log(shown[-1] / count) >= LABEL_DISTANCE * np.log(lesions[-1] / lesions[0]) > 0:
            shown.append(count)
    return shown


def _line(axes: Axes, lesions: Sequence[int], intervals: Sequence[Interval], colour: str, unit: float) -> None:
    means, lows, highs = (
        unit * np.array([getattr(each, end) for each in intervals]) for end in ("mean", "low", "high")
    )
    axes.plot(lesions, means, color=colour, linewidth=1.8, marker="o", markersize=4)
    known = np.isfinite(lows) & np.isfinite(highs)
    axes.fill_between(lesions, lows, highs, where=list(known), color=colour, alpha=0.15, linewidth=0)
