"""Net benefit by threshold probability: the model helps where its line is above both thin lines."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from components.clinical.decision_curves import DecisionCurve
from components.report.figures import FONT_SIZE, INK, PANEL_WIDTH, plain_axes


def draw(curves: Mapping[str, DecisionCurve], colours: Mapping[str, str]) -> Figure:
    """One line an arm with its interval as a band; dashed: treat all; at zero: treat none."""
    figure = Figure(figsize=(PANEL_WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    first = next(iter(curves.values()))
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.plot(first.thresholds, first.all, color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
    for arm, curve in curves.items():
        low, high = [each.low for each in curve.model], [each.high for each in curve.model]
        axes.fill_between(curve.thresholds, low, high, color=colours[arm], alpha=0.15, linewidth=0)
        axes.plot(curve.thresholds, [each.mean for each in curve.model], color=colours[arm], linewidth=1.8)
    top = max(each.high for curve in curves.values() for each in curve.model)
    axes.set(
        xlabel="probability of malignancy from which one acts", ylabel="net benefit", ylim=(-0.35 * top, 1.05 * top)
    )
    axes.annotate(
        "treat none", (first.thresholds[-1], 0), (0, -3), textcoords="offset points",
        ha="right", va="top", color=INK, fontsize=FONT_SIZE,
    )  # fmt: skip
    axes.set_xlim(0, max(first.thresholds))
    plain_axes(axes)
    return figure
