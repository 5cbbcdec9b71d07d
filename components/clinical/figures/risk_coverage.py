"""Risk by coverage: errors among the images that are answered, most confident first."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from components.clinical.abstention import SelectivePrediction
from components.report.figures import PANEL_WIDTH, plain_axes


def draw(curves: Mapping[str, SelectivePrediction], colours: Mapping[str, str]) -> Figure:
    """One line an arm with its interval as a band; the diamond is the threshold chosen on val."""
    figure = Figure(figsize=(PANEL_WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    for arm, curve in curves.items():
        low, high = [each.low for each in curve.risks], [each.high for each in curve.risks]
        axes.fill_between(curve.coverages, low, high, color=colours[arm], alpha=0.15, linewidth=0)
        axes.plot(curve.coverages, [each.mean for each in curve.risks], color=colours[arm], linewidth=1.8)
        axes.plot([curve.coverage.mean], [curve.risk.mean], "D", color=colours[arm], markersize=6)
    axes.set(xlabel="images answered, %", ylabel="wrong among them, %", xlim=(0, 1.01))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    plain_axes(axes)
    return figure
