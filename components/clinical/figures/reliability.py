"""What is said against what happens: on the dashed line a model can be taken at its word, below it says too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from components.clinical.calibration import Point
from components.report.figures import INK, PANEL_WIDTH, plain_axes


def draw(
    curves: Mapping[str, Sequence[Point]],
    colours: Mapping[str, str],
    said: str = "said: sure of its answer",
    happened: str = "is right",
) -> Figure:
    """One line an arm, a dot a bin of equally many images; whiskers are intervals over lesions."""
    figure = Figure(figsize=(PANEL_WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for arm, points in curves.items():
        at, height = [point.said for point in points], [point.happened.mean for point in points]
        ends = np.array([[point.happened.low, point.happened.high] for point in points])  # (B, 2)
        axes.vlines(at, ends[:, 0], ends[:, 1], color=colours[arm], linewidth=1.2, alpha=0.5)
        axes.plot(at, height, color=colours[arm], linewidth=1.6, marker="o", markersize=3.5)
    axes.set(xlabel=f"{said}, %", ylabel=f"{happened}, %", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_xticks(np.linspace(0, 1, 6), ["0", "20", "40", "60", "80", "100"])
    axes.set_yticks(np.linspace(0, 1, 6), ["0", "20", "40", "60", "80", "100"])
    plain_axes(axes)
    return figure
