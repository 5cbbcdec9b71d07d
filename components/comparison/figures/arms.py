"""Balanced accuracy and macro AUROC of every arm on test images, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from components.comparison.comparison import Comparison
from components.report.figures import arm_colours, arms
from components.statistics.runs import Run

TITLE = "Test metrics of the arms"
CAPTION = (
    "Dots: means over seeds. Whiskers: intervals over seeds and lesions together. Thin lines below: what lesions "
    "(solid) or seeds (dotted) alone contribute. Dashed: chance."
)
SECTION = "test"


def draw(comparison: Comparison, runs: Sequence[Run]) -> Mapping[str, Figure]:
    """One panel a metric, one line an arm and protocol."""
    del runs  # the comparison holds their metrics
    question = comparison.question
    colours = arm_colours(question.arms)
    panels = {
        "balanced_accuracy": ("Balanced accuracy: the mean of the classes' sensitivities", 1 / len(question.classes)),
        "macro_auroc": ("Macro AUROC: how well each class is ranked above the others", 0.5),
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
            f"test {name.replace('_', ' ').replace('auroc', 'AUROC')}",
            line=chance,
        )
        for name, (caption, chance) in panels.items()
    }
