"""Balanced accuracy of the probe of each stage, one line an arm: the depth at which an encoder knows the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.probes.analysis import ArmProbes
from components.report.figures import INK, PANEL_WIDTH, plain_axes


def draw(arms: Sequence[ArmProbes], colours: Mapping[str, str], chance: float) -> Figure:
    """Lines are means over seeds, dots single seeds; an arm with one map is drawn at the last stage.

    Args:
        arms: to draw.
        colours: by arm.
        chance: balanced accuracy of guessing, dashed.
    """
    figure = Figure(figsize=(1.4 * PANEL_WIDTH, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.axhline(chance, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    deepest = max(len(each.encoders[0].stages) for each in arms)
    for arm in arms:
        values = np.array([[stage.balanced_accuracy for stage in each.stages] for each in arm.encoders])  # (S, M)
        together = np.array([each.together.balanced_accuracy for each in arm.encoders])
        places = np.arange(deepest - values.shape[1], deepest) + 1
        axes.plot(places, values.mean(0), "-", color=colours[arm.arm], linewidth=1.6, label=arm.arm)
        for place, column in zip((*places, deepest + 1), (*values.T, together), strict=True):
            axes.plot([place] * len(column), column, "o", color=colours[arm.arm], markersize=3.2, alpha=0.7)
        axes.plot([deepest + 0.75, deepest + 1.25], [together.mean()] * 2, color=colours[arm.arm], linewidth=1.6)
    axes.set_xticks(range(1, deepest + 2), [*(str(place) for place in range(1, deepest + 1)), "all"])
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("stage, from the image to the last map")
    axes.set_ylabel("balanced accuracy on val")
    plain_axes(axes)
    return figure
