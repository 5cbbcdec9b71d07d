"""Each subgroup minus all other images, attribute by attribute; filled where the difference is significant."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.clinical.subgroups import Subgroup, Subgroups
from components.report.figures import FONT_SIZE, INK, PANEL_WIDTH, plain_axes, shorten
from components.statistics.intervals import Interval

ROW = 0.24
"""Inches."""


def draw(found: Subgroups, measure: str, colour: str) -> Figure:
    """Differences in points; a subgroup of too few lesions has no row."""
    shown = [each for each in found.subgroups if measure in each.differences]
    names = list(dict.fromkeys(each.attribute for each in shown))
    rows = len(shown) + len(names)
    figure = Figure(figsize=(PANEL_WIDTH, 0.7 + ROW * rows), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    labels: list[tuple[float, str]] = []
    for name in names:
        labels.append((len(labels), name.upper()))
        for each in (each for each in shown if each.attribute == name):
            _row(axes, len(labels), each.differences[measure], colour, significant=each.differs(measure))
            labels.append((len(labels), _label(each)))
    axes.set_yticks([at for at, _ in labels], [text for _, text in labels])
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xlabel("minus all other images, points")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    plain_axes(axes, grid="x")
    headings = {name.upper() for name in names}
    for tick in axes.get_yticklabels():
        tick.set_fontsize(FONT_SIZE - (1.5 if tick.get_text() in headings else 0.5))
    axes.tick_params(axis="y", length=0)
    return figure


def _row(axes: Axes, place: int, difference: Interval, colour: str, *, significant: bool) -> None:
    axes.plot([100 * difference.low, 100 * difference.high], [place, place], color=colour, linewidth=1.6)
    axes.plot(
        [100 * difference.mean], [place], "o", color=colour, markersize=5.5, mfc=colour if significant else "#ffffff"
    )


def _label(each: Subgroup) -> str:
    return f"{shorten(each.value)} ({each.groups})" if each.size_shown else shorten(each.value)
