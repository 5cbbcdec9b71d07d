"""Histogram of one quality measure: one outline a data set version, in percent of its images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from components.report.figures import PANEL_WIDTH, plain_axes
from components.validation.quality import QualityMeasure, Values

BINS = 40


def draw(versions: Mapping[str, Values], measure: QualityMeasure, colours: Mapping[str, str]) -> Figure:
    """Histograms of one or more versions.

    Args:
        versions: name -> values as measured; a version without values is left out.
        measure: gives the scale and the axis.
        colours: name -> colour.
    """
    figure = Figure(figsize=(PANEL_WIDTH, 2.1), layout="constrained")
    axes = figure.subplots()
    edges = bin_edges(np.concatenate(list(versions.values())), measure)
    for name, values in versions.items():
        if values.size:
            counts, _ = np.histogram(np.maximum(values, edges[0]), edges)
            axes.stairs(100 * counts / values.size, edges, color=colours[name], linewidth=1.6)
            axes.stairs(100 * counts / values.size, edges, color=colours[name], alpha=0.15, fill=True)
    if measure.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=measure.meaning, ylabel="images, %", xlim=(edges[0], edges[-1]))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    plain_axes(axes)
    return figure


def bin_edges(values: Values, measure: QualityMeasure) -> Values:
    """Edges (BINS + 1,) from the measure's lowest to its highest value, or to the highest of `values`."""
    if measure.logarithmic:
        scaled = measure.scaled(values) if values.size else np.array([0.0])
        low, high = float(scaled.min()), max(float(scaled.max()), float(scaled.min()) + 0.5)
        return np.asarray(np.logspace(low, high + 1e-9, BINS + 1))
    high = measure.high or max(float(values.max(initial=0)), 20 * measure.least)
    return np.linspace(measure.low, high, BINS + 1)
