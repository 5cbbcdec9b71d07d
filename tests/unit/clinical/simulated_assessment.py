"""An assessment of simulated arms of known skill, and the part of a page that shows it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
from matplotlib.figure import Figure

from components.base.log import SilentLog
from components.base.run_id import FinetuneProtocol
from components.clinical import attributes, subgroups
from components.clinical.assessment import HEADLINE, ClinicalAssessment, ClinicalTask, assess
from components.clinical.figures import draw_figures
from components.clinical.settings import Clinical
from components.report import page
from components.report.figures import arm_colours
from components.statistics.prior import Priors
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule
from tests.unit.clinical.simulation import CLASSES, COSTS, MALIGNANT, SEVERITY, simulate

SKILLS = {"vae": 1.2, "imagenet": 2.4}
SETTINGS = Clinical(
    malignant=MALIGNANT,
    severity=SEVERITY,
    costs=COSTS,
    levels=(0.9, 0.95),
    thresholds=(0.05, 0.1, 0.2, 0.3),
    answered=0.8,
    miss=0.1,
    ages=(40, 60),
    least_groups=20,
    deployment=None,
)
QUESTION = StudyQuestion(
    study="simulation",
    arms=tuple(SKILLS),
    protocols=(FinetuneProtocol.FROZEN,),
    seeds=(0, 1, 2, 3),
    reference="imagenet",
    classes=CLASSES,
    rule=Rule(confidence=0.95, margin=0.02, min_seeds=3),
    resamples=100,
    seed=0,
    synthetic=False,
)
UNIFORM = np.full(len(CLASSES), 1 / len(CLASSES))
TASK = ClinicalTask(
    QUESTION, SETTINGS, calibration_bins=15, malignant=MALIGNANT, severity=SEVERITY, priors=Priors(UNIFORM, UNIFORM)
)


def assess_simulation(task: ClinicalTask = TASK, with_attributes: bool = True) -> ClinicalAssessment:
    """Two arms, four seeds, three hundred test lesions."""
    runs, accepted, facts = simulate(SKILLS, lesions=300, seeds=4)
    names = sorted(accepted.loc[accepted["split"] == "test", "image_id"])
    table = attributes.describe(names, accepted, facts, task.settings.ages) if with_attributes else None
    return assess(runs, task, table, SilentLog())


def assess_six_models() -> ClinicalAssessment:
    """Three arms, two protocols: four comparisons with the reference."""
    skills = {"vae": 2.2, "random": 2.4, "imagenet": 2.4}
    protocols = (FinetuneProtocol.FROZEN, FinetuneProtocol.FULL)
    runs, _, _ = simulate(skills, lesions=150, seeds=2, protocols=protocols)
    rule = replace(QUESTION.rule, min_seeds=2)
    question = replace(QUESTION, arms=tuple(skills), protocols=protocols, seeds=(0, 1), rule=rule)
    return assess(runs, replace(TASK, question=question), None, SilentLog())


def render(found: ClinicalAssessment, figures: dict[str, Figure] | None = None) -> str:
    """A page of the two clinical parts; a figure's label is its name."""
    drawn = draw_figures(found) if figures is None else figures
    context = {
        "clinical": found,
        "figures": {name: page.inline_svg(figure, name, name) for name, figure in drawn.items()},
        "colours": arm_colours(found.task.question.arms),
        "headline_names": HEADLINE,
        "measures": subgroups.MEASURES,
        "few": 10,
    }
    parts = [page.render(f"clinical/{name}.html.j2", **context) for name in ("section", "subgroups")]
    frame = page.render("report/page.html.j2")
    return frame.replace("<body>", "<body><main>" + "".join(parts) + "</main>")


class PageText(HTMLParser):
    """Collects the words, and the tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def words(text: str) -> str:
    """The words of a page whose every tag is closed."""
    reader = PageText()
    reader.feed(text)
    assert reader.open == []
    return re.sub(r"\s+", " ", reader.words)
