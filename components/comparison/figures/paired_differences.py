"""Each arm minus the reference, in balanced accuracy and in the overfitting gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from components.comparison.comparison import Comparison
from components.report.figures import arm_colours, arms
from components.statistics.runs import Run

TITLE = "Differences from the reference"
CAPTION = (
    "Dots: means over seeds. Whiskers: intervals over seeds and lesions together, of the gap over seeds alone. Thin "
    "lines below: what lesions (solid) or seeds (dotted) alone contribute. Dashed: no difference. Grey band: "
    "differences inside the margin."
)
SECTION = "differences"


def draw(comparison: Comparison, runs: Sequence[Run]) -> Mapping[str, Figure]:
    """Two panels, one line a comparison; none for a study of one arm."""
    del runs  # the comparison holds the differences
    if not comparison.differences:
        return {}
    question = comparison.question
    reference, colours = question.reference, arm_colours(question.arms)
    accuracy = [
        arms.dot_with_sources(
            f"{each.arm}, {each.protocol}",
            colours[each.arm],
            each.test["balanced_accuracy"],
            reaches=each.sources["balanced_accuracy"].reaches(question.rule.confidence),
            unit=100,
        )
        for each in comparison.differences
    ]
    gap = [
        arms.Dot(f"{each.arm}, {each.protocol}", colours[each.arm], each.gap.mean, each.gap.low, each.gap.high)
        for each in comparison.differences
    ]
    return {
        f"Balanced accuracy: right of the dashed line the arm is better than {reference}": arms.draw(
            accuracy, f"balanced accuracy minus {reference}'s, points", line=0.0, margin=100 * question.rule.margin
        ),
        f"Overfitting gap: left of the dashed line the arm overfits less than {reference}": arms.draw(
            gap, f"gap (loss) minus {reference}'s", line=0.0
        ),
    }
