"""The overfitting gap by epoch, in every quantity; at zero a model does as well on val as on train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.comparison.comparison import Comparison
from components.comparison.overfitting_gap import QUANTITIES
from components.report.figures import INK, PANEL_WIDTH, arm_colours, plain_axes
from components.statistics.runs import Run, by_protocol

TITLE = "Gap by epoch"
CAPTION = (
    "Above zero a model does better on train than on val. Each line is the mean over seeds, each band goes from the "
    "lowest to the highest seed. Dotted, in loss: the limit above which the gap counts as overfitting."
)
SECTION = "gap"

LABELS = {
    "loss": "val loss - train loss",
    "accuracy": "train - val accuracy",
    "balanced_accuracy": "train - val balanced accuracy",
    "macro_auroc": "train - val macro AUROC",
}


def draw(comparison: Comparison, runs: Sequence[Run]) -> Mapping[str, Figure]:
    """Every quantity under each protocol."""
    colours = arm_colours(comparison.question.arms)
    found = {}
    for protocol, arms in by_protocol(runs).items():
        curves = {arm: [run.curve for run in group] for arm, group in arms.items()}
        for quantity in QUANTITIES:
            words = quantity.replace("_", " ").replace("auroc", "AUROC")
            limit = comparison.settings.onset if quantity == "loss" else None
            found[f"Gap in {words}, {protocol.description}"] = draw_gap(curves, quantity, colours, limit)
    return found


def draw_gap(
    curves: Mapping[str, Sequence[pd.DataFrame]],
    quantity: str,
    colours: Mapping[str, str],
    onset: float | None = None,
) -> Figure:
    """One panel.

    Args:
        curves: an arm's curve tables, one a seed.
        quantity: one of LABELS.
        colours: by arm.
        onset: a dotted line, in the quantity's unit.
    """
    figure = Figure(figsize=(PANEL_WIDTH, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=INK, linewidth=0.8)
    if onset is not None:
        axes.axhline(onset, color=INK, linewidth=0.8, linestyle=(0, (1, 3)))
    for arm, tables in curves.items():
        epochs = pd.concat(tables).groupby("epoch")[f"gap/{quantity}"].agg(["mean", "min", "max"])
        axes.plot(epochs.index, epochs["mean"], color=colours[arm], linewidth=1.8, marker="o", markersize=2.5)
        axes.fill_between(epochs.index, epochs["min"], epochs["max"], color=colours[arm], alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel=LABELS[quantity])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_axes(axes)
    return figure
