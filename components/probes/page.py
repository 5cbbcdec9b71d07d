"""The page about pretraining: what each encoder knows of the classes, by stage, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from components.probes import figure as depth_figure
from components.probes.against_reference import ProbeDifference
from components.probes.analysis import ArmProbes
from components.report import page
from components.report.figures import arm_colours
from components.report.wording import mark_synthetic
from components.statistics.question import StudyQuestion

DEPTH = "depth-of-knowledge"
"""Name of the figure in MLflow."""


def draw_figures(arms: Sequence[ArmProbes], question: StudyQuestion) -> dict[str, Figure]:
    """The curve over the depth of the network."""
    return {DEPTH: depth_figure.draw(arms, arm_colours(question.arms), 1 / len(question.classes))}


def sentences(arms: Sequence[ArmProbes], question: StudyQuestion) -> list[str]:
    """One an arm: accuracy of the probe, and its alarms."""
    return [mark_synthetic(_sentence(each), question.synthetic) for each in arms]


def _sentence(arm: ArmProbes) -> str:
    mean = 100 * arm.accuracy.mean
    found = "; ".join(arm.alarms)
    return f"{arm.arm}: probe of all stages {mean:.1f} % balanced accuracy on val" + (f"; {found}" if found else "")


def render(
    arms: Sequence[ArmProbes],
    question: StudyQuestion,
    figures: Mapping[str, Figure],
    differences: Sequence[ProbeDifference],
    *,
    pretraining: Mapping[str, Mapping[str, Any]],
    images: tuple[int, int],
    floors: Sequence[str],
) -> str:
    """The page as HTML.

    Args:
        arms: their probes.
        question: of the study.
        figures: those of `draw_figures`.
        differences: every arm minus the reference.
        pretraining: by arm, the metrics that its pretraining with the first seed ended with.
        images: train and val images of the probes.
        floors: arms that every other one should be above.
    """
    return page.render(
        "probes/page.html.j2",
        arms=arms,
        question=question,
        colours=arm_colours(question.arms),
        figures={name: page.inline_svg(each, name, "Balanced accuracy by stage") for name, each in figures.items()},
        depth=DEPTH,
        stages=max(len(each.encoders[0].stages) for each in arms),
        differences={each.arm: each for each in differences},
        pretraining=pretraining,
        images=images,
        floors=floors,
        number=_number,
        mean_of=_mean_of,
    )


def _mean_of(arm: ArmProbes, stage: int, name: str) -> float:
    """Mean over seeds of one value of a stage, counted from 0."""
    values = [getattr(each.stages[stage], name) for each in arm.encoders]
    return float(sum(values) / len(values))


def _number(value: object) -> str:
    """A metric as text: four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
