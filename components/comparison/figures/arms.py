"""Metrics of every arm on test images, with intervals, and the null line of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from components.comparison.against_null import COMPARED, RESTORED, null_line
from components.comparison.comparison import Comparison
from components.report.figures import arm_colours, arms
from components.statistics.runs import Run

TITLE = "Test metrics of the arms"
CAPTION = (
    "Dots: means over seeds. Whiskers: intervals over seeds and lesions together. Thin lines below: what lesions "
    "(solid) or seeds (dotted) alone contribute. Dashed: class frequencies alone, which an arm must be better than."
)
SECTION = "test"


def draw(comparison: Comparison, runs: Sequence[Run]) -> Mapping[str, Figure]:
    """One panel a metric, one line an arm and protocol."""
    del runs  # the comparison holds their metrics
    question = comparison.question
    colours = arm_colours(question.arms)
    panels = {
        "balanced_accuracy": "Balanced accuracy: the mean of the classes' sensitivities",
        "macro_auroc": "Macro AUROC: how well each class is ranked above the others",
        "accuracy": "Accuracy: the share of correctly classified images",
        RESTORED: "Log loss, class frequencies restored: lower is better",
    }
    return {
        caption: arms.draw(
            [
                arms.dot_with_sources(
                    f"{row.arm}, {row.protocol}",
                    colours[row.arm],
                    row.test[name],
                    reaches=row.sources[name].reaches(question.rule.confidence),
                )
                for row in comparison.rows
            ],
            f"test {COMPARED[name]}",
            line=null_line(name, comparison.null_lines),
        )
        for name, caption in panels.items()
    }
