"""Loss and accuracy by epoch, on train and on val: mean over seeds, and the seeds' range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.comparison.comparison import Comparison
from components.report.figures import PANEL_WIDTH, arm_colours, plain_axes
from components.statistics.runs import Run, by_protocol

TITLE = "Learning curves"
CAPTION = (
    "Solid: val. Dashed: train, without augmentation. Each line is the mean over seeds, each band goes from the lowest "
    "to the highest seed."
)
SECTION = "learning"

STYLES = {"train": (0, (3, 2)), "val": "solid"}


def draw(comparison: Comparison, runs: Sequence[Run]) -> Mapping[str, Figure]:
    """Loss and accuracy under each protocol."""
    colours = arm_colours(comparison.question.arms)
    return {
        f"{quantity.capitalize()}, {protocol.description}": draw_curves(
            {arm: [run.curve for run in group] for arm, group in arms.items()}, quantity, colours
        )
        for protocol, arms in by_protocol(runs).items()
        for quantity in ("loss", "accuracy")
    }


def draw_curves(curves: Mapping[str, Sequence[pd.DataFrame]], quantity: str, colours: Mapping[str, str]) -> Figure:
    """One panel.

    Args:
        curves: an arm's curve tables, one a seed.
        quantity: the column after `train/` and `val/`.
        colours: by arm.
    """
    figure = Figure(figsize=(PANEL_WIDTH, 2.9), layout="constrained")
    axes = figure.subplots()
    for arm, tables in curves.items():
        for split, style in STYLES.items():
            _line(axes, tables, f"{split}/{quantity}", colours[arm], style)
    axes.set(xlabel="epoch", ylabel=quantity.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_axes(axes)
    return figure


def _line(axes: Axes, tables: Sequence[pd.DataFrame], column: str, colour: str, style: object) -> None:
    """Seeds may stop at different epochs: each epoch shows those that have it."""
    epochs = pd.concat(tables).groupby("epoch")[column].agg(["mean", "min", "max"])
    axes.plot(epochs.index, epochs["mean"], color=colour, linestyle=style, linewidth=1.8, marker="o", markersize=2.5)
    axes.fill_between(epochs.index, epochs["min"], epochs["max"], color=colour, alpha=0.13, linewidth=0)
