"""The clinical assessment as files: JSON record, and the few metrics that are followed from run to run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from components.base.json_data import plain
from components.clinical.assessment import ClinicalAssessment, ClinicalTask
from components.statistics.prior import as_mapping
from components.statistics.significance import smallest_adjusted_p


def as_record(assessment: ClinicalAssessment) -> dict[str, Any]:
    """The assessment as data for JSON: numbers in full, null for what is not known.

    Subgroups with too few lesions have no counts; where an attribute has only one, the next smallest has none either,
    else the total would reveal it.
    """
    models = [asdict(model) for model in assessment.models]
    found: dict[str, Any] = plain(
        {"plan": _plan(assessment.task), "null_lines": assessment.null_lines, "sheets": models}
    )
    for model in found["sheets"]:
        subgroups = model["subgroups"] or {"subgroups": []}
        for each in subgroups["subgroups"]:
            if not each.pop("size_shown"):
                each |= {"images": None, "groups": None, "classes": []}
    return found


def _plan(task: ClinicalTask) -> dict[str, Any]:
    """What was assessed: names of the study, and the settings with diagnoses as classes."""
    question = task.question
    return {
        "arms": question.arms,
        "reference": question.reference,
        "classes": question.classes,
        **task.settings.model_dump(),
        "malignant": task.malignant,
        "severity": task.severity,
        "costs": task.costs,
        "train_frequencies": as_mapping(task.priors.frequencies, question.classes),
        "trained_prior": as_mapping(task.priors.trained, question.classes),
        "deployment_frequencies": (None if task.deployment is None else as_mapping(task.deployment, question.classes)),
        "bins": task.calibration_bins,
        "confidence": question.rule.confidence,
        "resamples": question.resamples,
        "smallest_p": smallest_adjusted_p(question.resamples, question.comparisons),
        "seed": question.seed,
    }


def as_metrics(assessment: ClinicalAssessment) -> dict[str, float]:
    """The few numbers to follow from run to run, by `ARM-PROTOCOL/NAME`; what is not known is left out."""
    found: dict[str, float] = {}
    for model in assessment.models:
        own = {name: interval.mean for name, interval in model.headline.items()}
        own |= {"calibration_squared": model.calibration.before.errors["squared"].mean}
        own |= {"conformal_coverage": model.sets[0].coverage.mean}
        found |= {f"{model.name}/{name}": value for name, value in own.items()}
    return {name: float(value) + 0.0 for name, value in found.items() if np.isfinite(value)}
