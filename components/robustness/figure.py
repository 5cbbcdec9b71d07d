"""Balanced accuracy of each arm against the strength of one corruption, with interval whiskers and a line at chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.report.figures import INK, PANEL_WIDTH, plain_axes
from components.statistics.intervals import Interval

ARM_OFFSET = 0.09
"""Of a strength, between arms, so that whiskers do not overlap."""


def draw(
    curves: Mapping[str, Sequence[tuple[int, Interval]]],
    colours: Mapping[str, str],
    *,
    chance: float,
    limits: tuple[float, float],
) -> Figure:
    """One curve an arm.

    Args:
        curves: by arm, pairs of strength (0 for the clean images) and balanced accuracy in [0, 1].
        colours: by arm.
        chance: balanced accuracy of guessing, drawn as a dashed line.
        limits: of the vertical axis.
    """
    figure = Figure(figsize=(PANEL_WIDTH, 2.5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(chance, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    middle = (len(curves) - 1) / 2
    for place, (arm, points) in enumerate(curves.items()):
        at = np.array([strength for strength, _ in points]) + ARM_OFFSET * (place - middle)
        axes.plot(at, [each.mean for _, each in points], "-o", color=colours[arm], linewidth=1.6, markersize=4)
        for x, (_, each) in zip(at, points, strict=True):
            if each.known:
                axes.plot([x, x], [each.low, each.high], color=colours[arm], linewidth=1.1, alpha=0.7)
    strengths = sorted({strength for points in curves.values() for strength, _ in points})
    axes.set_xticks(strengths, [str(strength) if strength else "clean" for strength in strengths])
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("strength")
    axes.set_ylabel("balanced accuracy")
    plain_axes(axes)
    return figure
