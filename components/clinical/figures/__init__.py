"""The figures of the clinical assessment, one a module with a function `draw`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from components.clinical.assessment import ClinicalAssessment, ClinicalTask, ModelAssessment
from components.clinical.figures import decision_curve, operating_points, reliability, risk_coverage, subgroups
from components.clinical.subgroups import MEASURES
from components.report.figures import arm_colours, confusion


def draw_figures(assessment: ClinicalAssessment) -> dict[str, Figure]:
    """Every figure of the assessment by name: `NAME-PROTOCOL`, or `NAME-ARM-PROTOCOL`."""
    found: dict[str, Figure] = {}
    colours = arm_colours(assessment.task.question.arms)
    for protocol in dict.fromkeys(model.protocol for model in assessment.models):
        models = {model.arm: model for model in assessment.models if model.protocol == protocol}
        found |= {f"{name}-{protocol}": figure for name, figure in _of_protocol(models, colours).items()}
    for model in assessment.models:
        found |= _of_model(model, assessment.task, colours[model.arm])
    return found


def _of_protocol(models: Mapping[str, ModelAssessment], colours: Mapping[str, str]) -> dict[str, Figure]:
    before = {arm: model.calibration.before for arm, model in models.items()}
    after = {arm: model.calibration.after for arm, model in models.items()}
    found = {
        "reliability": reliability.draw({arm: each.curve for arm, each in before.items()}, colours),
        "reliability-scaled": reliability.draw({arm: each.curve for arm, each in after.items()}, colours),
        "coverage": risk_coverage.draw({arm: model.selective for arm, model in models.items()}, colours),
    }
    curves = {arm: model.benefit for arm, model in models.items() if model.benefit}
    if curves:
        found["reliability-malignant"] = reliability.draw(
            {arm: each.malignant for arm, each in after.items()},
            colours,
            predicted="predicted probability of malignancy",
            observed="malignant",
        )
        found["operating"] = operating_points.draw({arm: model.operating[0] for arm, model in models.items()}, colours)
        found["decision"] = decision_curve.draw(curves, colours)
    deployed = {arm: model.deployment.deployed.benefit for arm, model in models.items() if model.deployment}
    if deployed:
        found["decision-deployment"] = decision_curve.draw(deployed, colours)
    return found


def _of_model(model: ModelAssessment, task: ClinicalTask, colour: str) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    if model.triage is not None and task.severity is not None:
        counts = np.array(model.triage.confusion)
        found[f"severity-{model.name}"] = confusion.draw(counts, list(task.severity), colour)
    if model.subgroups is not None:
        for measure in MEASURES:
            if model.subgroups.worst(measure) is not None:
                found[f"subgroups-{measure}-{model.name}"] = subgroups.draw(model.subgroups, measure, colour)
    return found
