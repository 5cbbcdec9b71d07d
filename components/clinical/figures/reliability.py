"""Reliability curves: observed against predicted frequency; below the dashed line a model is overconfident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from components.clinical.calibration import ReliabilityBin
from components.report.figures import INK, PANEL_WIDTH, plain_axes


def draw(
    curves: Mapping[str, Sequence[ReliabilityBin]],
    colours: Mapping[str, str],
    *,
    predicted: str = "predicted probability of the answer",
    observed: str = "correct",
) -> Figure:
    """One line an arm, a dot a bin of equally many images; whiskers are intervals over lesions."""
    figure = Figure(figsize=(PANEL_WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for arm, points in curves.items():
        at, height = [point.predicted for point in points], [point.observed.mean for point in points]
        ends = np.array([[point.observed.low, point.observed.high] for point in points])  # (B, 2)
        axes.vlines(at, ends[:, 0], ends[:, 1], color=colours[arm], linewidth=1.2, alpha=0.5)
        axes.plot(at, height, color=colours[arm], linewidth=1.6, marker="o", markersize=3.5)
    axes.set(xlabel=f"{predicted}, %", ylabel=f"{observed}, %", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_xticks(np.linspace(0, 1, 6), ["0", "20", "40", "60", "80", "100"])
    axes.set_yticks(np.linspace(0, 1, 6), ["0", "20", "40", "60", "80", "100"])
    plain_axes(axes)
    return figure
