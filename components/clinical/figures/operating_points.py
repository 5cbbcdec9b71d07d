"""ROC curves of malignant against benign, with the operating points of the thresholds chosen on val."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from components.clinical.operating_points import OperatingPoint, OperatingPoints
from components.report.figures import GRID_COLOUR, INK, PANEL_WIDTH, plain_axes

MARKERS = {"specificity": "o", "sensitivity": "s"}


def draw(arms: Mapping[str, OperatingPoints], colours: Mapping[str, str]) -> Figure:
    """ROC curves on test images, one an arm.

    Lines are means over seeds. Dots: the threshold fixes specificity on val; squares: it fixes sensitivity. Crossed
    lines are intervals; light lines are the levels that were fixed on val.
    """
    figure = Figure(figsize=(PANEL_WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    first = next(iter(arms.values()))
    for point in first.points:  # the levels that were fixed on val
        line = axes.axhline if point.fixed == "sensitivity" else axes.axvline
        line(point.level if point.fixed == "sensitivity" else 1 - point.level, color=GRID_COLOUR, linewidth=1.2)
    for arm, found in arms.items():
        curve = np.array(found.roc).reshape(-1, 2)
        axes.plot(curve[:, 0], curve[:, 1], color=colours[arm], linewidth=1.6, alpha=0.8)
        for point in found.points:
            _cross(axes, point, colours[arm])
    axes.set(
        xlabel="false positive rate (benign called malignant), %",
        ylabel="sensitivity (malignant called malignant), %",
        xlim=(-0.01, 1),
    )
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    plain_axes(axes)
    return figure


def _cross(axes: Axes, point: OperatingPoint, colour: str) -> None:
    sensitivity, specificity = point.test["sensitivity"], point.test["specificity"]
    x, y = 1 - specificity.mean, sensitivity.mean
    if not np.isfinite([x, y]).all():
        return
    axes.plot([1 - specificity.high, 1 - specificity.low], [y, y], color=colour, linewidth=1.1)
    axes.plot([x, x], [sensitivity.low, sensitivity.high], color=colour, linewidth=1.1)
    axes.plot([x], [y], MARKERS[point.fixed], color=colour, markersize=5, markeredgecolor="#ffffff")
