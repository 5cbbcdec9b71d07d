"""The page of one protocol's learning curves over train lesions: the answer in words, the curves, every number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from components.label_efficiency import figure as curves
from components.label_efficiency.analysis import METRICS, LabelEfficiencyResult
from components.label_efficiency.crossing import CurveComparison, ShareOutcome
from components.label_efficiency.wording import lesion_range, summary, whole_percent
from components.report import page
from components.report.figures import arm_colours
from components.report.formatting import interval_range, percent, points
from components.statistics.intervals import Interval
from components.statistics.runs import FINGERPRINTS

NAMES = {"balanced_accuracy": "Balanced accuracy", "macro_auroc": "Macro AUROC"}

NO_CROSSING = "no crossing"

CHIPS = {ShareOutcome.WITHIN: "good", ShareOutcome.BELOW: "even", ShareOutcome.BEYOND: "even"}
"""CSS class of the answer's chip."""


def draw_figures(result: LabelEfficiencyResult) -> dict[str, Figure]:
    """Curves and paired differences by name; the names are also the files' names in MLflow."""
    question, colours, figures = result.question, arm_colours(result.question.arms), {}
    for metric in METRICS:
        own = {arm: [p.scores[metric] for p in result.points if p.arm == arm] for arm in question.arms}
        paired = {arm: [p.differences[metric] for p in result.points if p.arm == arm] for arm in question.challengers}
        title = f"test {NAMES[metric].replace('Balanced', 'balanced').replace('Macro', 'macro')}, %"
        figures[f"label-efficiency-{metric}"] = curves.draw(result.lesions, own, title, colours, unit=100)
        if paired:
            label = f"minus {question.reference}, points"
            figures[f"label-efficiency-{metric}-difference"] = curves.draw(
                result.lesions, paired, label, colours, unit=100, line=0.0
            )
    return figures


def render(result: LabelEfficiencyResult, figures: Mapping[str, Figure]) -> str:
    """The whole page; the same result gives the same bytes."""
    return page.render(
        "label_efficiency/page.html.j2",
        {"percent": percent, "points": points, "interval_ends": interval_ends, "whole_percent": whole_percent},
        result=result,
        question=result.question,
        settings=result.settings,
        sentences=summary(result),
        colours=arm_colours(result.question.arms),
        figures={name: page.inline_svg(figure, name, name.replace("-", " ")) for name, figure in figures.items()},
        names=NAMES,
        meanings=FINGERPRINTS,
        rows=[row for each in result.comparisons for row in _rows(each, result)],
    )


@dataclass(frozen=True)
class CrossingRow:
    """A row of the table: crossing or label saving of one arm in one metric."""

    arm: str
    metric: str
    question: str
    middle: str
    """On the means."""
    ends: str
    outside: float
    answer: str
    chip: str
    turns: int


def _rows(comparison: CurveComparison, result: LabelEfficiencyResult) -> list[CrossingRow]:
    rows = []
    for question, place in (("crossing", comparison.crossing), ("enough", comparison.enough)):
        crosses = question == "crossing"  # curves that cross below the range do not cross within it
        middle = replace(place, low=place.share, high=place.share)
        at, ends = (
            NO_CROSSING if crosses and np.isneginf(each.high) else lesion_range(each, result)
            for each in (middle, place)
        )
        rows.append(
            CrossingRow(
                arm=comparison.arm,
                metric=comparison.metric,
                question=question,
                middle=at,
                ends=ends,
                outside=place.outside,
                answer=NO_CROSSING if crosses and place.outcome is ShareOutcome.BELOW else str(place.outcome),
                chip=CHIPS.get(place.outcome, "none"),
                turns=comparison.turns if crosses else 0,
            )
        )
    return rows


def interval_ends(interval: Interval, signed: bool = False) -> str:
    """`low to high` in percent or, signed, in points; or that there is no interval."""
    return interval_range(interval, points if signed else percent)
