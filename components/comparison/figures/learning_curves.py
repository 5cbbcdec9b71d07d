"""How loss or accuracy moves with the epochs, on train and on val: mean over seeds, and the seeds' range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.report.figures import PANEL_WIDTH, plain_axes

STYLES = {"train": (0, (3, 2)), "val": "solid"}


def draw(curves: Mapping[str, Sequence[pd.DataFrame]], quantity: str, colours: Mapping[str, str]) -> Figure:
    """`curves` are an arm's curve tables, one a seed; `quantity` is the column after `train/` and `val/`."""
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
    """Seeds may stop at different epochs: each epoch shows those that are still running."""
    epochs = pd.concat(tables).groupby("epoch")[column].agg(["mean", "min", "max"])
    axes.plot(
        epochs.index + 1, epochs["mean"], color=colour, linestyle=style, linewidth=1.8, marker="o", markersize=2.5
    )
    axes.fill_between(epochs.index + 1, epochs["min"], epochs["max"], color=colour, alpha=0.13, linewidth=0)
