"""A cross-validation as plain data: the JSON record next to the page, and the numbers that are tracked."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from components.base.json_data import plain
from components.comparison.overfitting_gap import DECIDING_GAP
from components.cross_validation.analysis import DECIDING, CrossValidation
from components.cross_validation.sentences import METHOD, about_data, assumptions, verdict
from components.report.wording import join_claims


def as_record(result: CrossValidation) -> dict[str, Any]:
    """JSON-able data: numbers in full, null for what is not known; `plan` holds what was compared."""
    fields = asdict(result)
    plan = fields.pop("question") | {"method": METHOD}
    found: dict[str, Any] = plain({"plan": plan, **fields})
    for record, of in zip(found["differences"], result.differences, strict=True):
        del record["outcome"]
        record["verdict"] = {"outcome": of.outcome.name}
        record["verdict"]["regions"] = {"accuracy": of.outcome.accuracy.name, "gap": of.outcome.gap.name}
        record["verdict"]["sentence"] = join_claims(verdict(of, result))
    return found | {"about": about_data(result), "assumptions": assumptions(result)}


def as_metrics(result: CrossValidation) -> dict[str, float]:
    """The few numbers to track; what is not known is left out."""
    values: dict[str, float] = {"folds": len(result.folds), "lesions": result.lesions}
    for row in result.rows:
        values |= {f"{row.arm}/{row.protocol}/{name}": each.mean for name, each in row.mean.items()}
    for each in result.differences:
        prefix, apart = f"{each.arm}/{each.protocol}/difference", each.mean[DECIDING]
        values |= {prefix: apart.mean, f"{prefix}_low": apart.low, f"{prefix}_high": apart.high}
        values |= {f"{prefix}_p": each.tests["differs"].holm, f"{prefix}_gap": each.mean[DECIDING_GAP].mean}
    return {name: float(value) + 0.0 for name, value in values.items() if np.isfinite(value)}
