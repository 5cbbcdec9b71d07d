"""An external validation as plain data: the JSON record next to the page, and the numbers that are tracked."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from components.base.json_data import plain
from components.external_validation.results import ExternalModel, ExternalValidationResult
from components.statistics.significance import smallest_adjusted_p


def as_record(result: ExternalValidationResult) -> dict[str, Any]:
    """JSON-able data: six decimals, null for what is not known."""
    question, setup, labels = result.question, result.setup, result.labels
    plan = {
        "cohort": setup.cohort,
        "arms": question.arms,
        "reference": question.reference,
        "classes": question.classes,
        "malignant": setup.malignant,
        "levels": setup.levels,
        "bins": setup.bins,
        "answered": setup.answered,
        "rule": asdict(question.rule),
        "resamples": question.resamples,
        "smallest_p": smallest_adjusted_p(question.resamples, len(result.models)),
        "seed": question.seed,
        "synthetic": question.synthetic,
        "missing_ids": {"internal": question.missing_ids, "external": setup.missing_ids},
    }
    classes = {"compared": labels.compared, "lacking": labels.lacking, "few": labels.few}
    record: dict[str, Any] = plain(
        {
            "plan": plan,
            "labels": asdict(labels) | classes,
            "lesions": result.lesions,
            "measures": {name: asdict(each) for name, each in result.measures.items()},
            "sheets": [_model(each) for each in result.models],
            "orders": [asdict(each) for each in result.orders],
            "claims": [asdict(each) for each in result.claims],
        }
    )
    return record


def _model(model: ExternalModel) -> dict[str, Any]:
    record = asdict(model)
    record["travels"] = record.pop("differs")
    return record


def as_metrics(result: ExternalValidationResult) -> dict[str, Any]:
    """The numbers to track from run to run: counts, and `ARM-PROTOCOL/MEASURE/{internal, external, drop}` if known."""
    found: dict[str, Any] = {
        "images": result.labels.images("external"),
        "lesions": result.lesions["external"],
        "classes": len(result.labels.compared),
        "outside": sum(result.labels.outside.values()),
    }
    for model in result.models:
        found[model.name] = {
            name: {
                side: float(getattr(change, side).mean) + 0.0
                for side in ("internal", "external", "drop")
                if np.isfinite(getattr(change, side).mean)
            }
            for name, change in model.changes.items()
        }
    return found
