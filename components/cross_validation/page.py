"""The page of a cross-validation: verdicts, arms, paired differences fold by fold, and what they assume."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from components.comparison.against_null import RESTORED
from components.comparison.overfitting_gap import DECIDING_GAP
from components.cross_validation.analysis import DECIDING, CrossValidation, PooledDifference
from components.cross_validation.sentences import about_data, assumptions, verdict
from components.report import page
from components.report.figures import arm_colours, arms
from components.report.wording import Claim

NAMES = {
    "balanced_accuracy": "Balanced accuracy",
    "macro_auroc": "Macro AUROC",
    "accuracy": "Accuracy",
    "log_loss": "Log loss",
    RESTORED: "Log loss, class frequencies restored",
    DECIDING_GAP: "Overfitting gap, loss",
}

SHARES = ("balanced_accuracy", "accuracy")
"""Metrics shown in percent, their differences in points."""

FIGURE = "cross-validation-differences"


def draw_figures(result: CrossValidation) -> dict[str, Figure]:
    """The paired differences in balanced accuracy, fold by fold; none for a study of one arm."""
    if not result.differences:
        return {}
    question, colours = result.question, arm_colours(result.question.arms)
    dots = [_dot(each, colours[each.arm]) for each in result.differences]
    title = f"balanced accuracy minus {question.reference}'s, points"
    return {FIGURE: arms.draw(dots, title, line=0.0, margin=100 * question.rule.margin)}


def _dot(each: PooledDifference, colour: str) -> arms.Dot:
    found, joint = each.mean[DECIDING], each.bootstrap
    return arms.Dot(
        f"{each.arm}, {each.protocol}",
        colour,
        100 * found.mean,
        100 * found.low,
        100 * found.high,
        seeds=[100 * value for value in each.by_fold[DECIDING]],
        parts=[(100 * joint.low, 100 * joint.high)],
    )


def render(result: CrossValidation, figures: Mapping[str, Figure]) -> str:
    """The whole page; the same result gives the same bytes."""
    verdicts: list[tuple[PooledDifference, tuple[Claim, ...]]] = [
        (each, verdict(each, result)) for each in result.differences
    ]
    return page.render(
        "cross_validation/page.html.j2",
        result=result,
        question=result.question,
        verdicts=verdicts,
        about=about_data(result),
        assumptions=assumptions(result),
        names=NAMES,
        shares=SHARES,
        deciding=DECIDING,
        gap=DECIDING_GAP,
        colours=arm_colours(result.question.arms),
        figures={name: page.inline_svg(figure, name, name.replace("-", " ")) for name, figure in figures.items()},
        figure=FIGURE,
    )
