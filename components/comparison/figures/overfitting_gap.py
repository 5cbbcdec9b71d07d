"""The overfitting gap epoch by epoch: zero is a model that does as well on val as on train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.report.figures import INK, PANEL_WIDTH, plain_axes

MEANING = {
    "loss": "val loss - train loss",
    "accuracy": "train - val accuracy",
    "balanced_accuracy": "train - val balanced accuracy",
    "macro_auroc": "train - val macro AUROC",
}


def draw(
    curves: Mapping[str, Sequence[pd.DataFrame]],
    quantity: str,
    colours: Mapping[str, str],
    onset: float | None = None,
) -> Figure:
    """`curves` are an arm's curve tables, one a seed; `quantity` one of MEANING; above `onset` the gap has begun."""
    figure = Figure(figsize=(PANEL_WIDTH, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=INK, linewidth=0.8)
    if onset is not None:
        axes.axhline(onset, color=INK, linewidth=0.8, linestyle=(0, (1, 3)))
    for arm, tables in curves.items():
        epochs = pd.concat(tables).groupby("epoch")[f"gap/{quantity}"].agg(["mean", "min", "max"])
        axes.plot(epochs.index + 1, epochs["mean"], color=colours[arm], linewidth=1.8, marker="o", markersize=2.5)
        axes.fill_between(epochs.index + 1, epochs["min"], epochs["max"], color=colours[arm], alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel=MEANING[quantity])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_axes(axes)
    return figure
