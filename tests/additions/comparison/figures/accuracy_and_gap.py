"""Test balanced accuracy against the overfitting gap in loss, one point an arm and protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from components.comparison.comparison import Comparison
from components.report.figures import PANEL_WIDTH, arm_colours, plain_axes
from components.statistics.runs import Run

TITLE = "Accuracy and gap together"
CAPTION = "Upper left is best: accurate on test images, and no better on train images than on new ones."
SECTION = "gap"


def draw(comparison: Comparison, runs: Sequence[Run]) -> Mapping[str, Figure]:
    """One panel for the whole study."""
    del runs  # the comparison holds both numbers
    figure = Figure(figsize=(PANEL_WIDTH, PANEL_WIDTH * 0.75), layout="constrained")
    axes = figure.add_subplot()
    colours = arm_colours(comparison.question.arms)
    for row in comparison.rows:
        gap, accuracy = row.gaps["gap/loss"].mean, 100 * row.test["balanced_accuracy"].mean
        axes.plot(gap, accuracy, "o", color=colours[row.arm])
        axes.annotate(f"{row.arm}, {row.protocol}", (gap, accuracy), xytext=(5, 5), textcoords="offset points")
    axes.set_xlabel("overfitting gap, nats")
    axes.set_ylabel("test balanced accuracy, %")
    plain_axes(axes)
    return {"all arms": figure}
