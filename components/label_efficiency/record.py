"""Label efficiency as plain data: the JSON record next to the page, and the numbers that are tracked."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from components.base.json_data import plain
from components.label_efficiency.analysis import LEADING, LabelEfficiencyResult
from components.label_efficiency.crossing import CurveComparison, ShareEstimate

OUTSIDE = {-np.inf: "below", np.inf: "beyond"}
"""How the record writes a share that is outside the range."""


def as_record(result: LabelEfficiencyResult) -> dict[str, Any]:
    """JSON-able data: numbers in full, null for what is not known; shares outside the range are `below` or `beyond`."""
    question, settings = result.question, result.settings
    plan = {
        "study": question.study,
        "protocol": str(result.protocol),
        "arms": question.arms,
        "reference": question.reference,
        "classes": question.classes,
        "shares": settings.curve_shares,
        "seeds": settings.seeds,
        "budget": settings.budget,
        "confidence": question.rule.confidence,
        "min_seeds": question.rule.min_seeds,
        "resamples": question.resamples,
        "seed": question.seed,
        "synthetic": question.synthetic,
    }
    return {
        "plan": plain(plan),
        "points": plain([asdict(point) for point in result.points]),
        "answers": [_comparison(each) for each in result.comparisons],
        "lesions": list(result.lesions),
        "test_images": result.test_images,
        "test_lesions": result.test_lesions,
        "fingerprints": result.fingerprints,
        "encoders": result.encoders,
    }


def _comparison(each: CurveComparison) -> dict[str, Any]:
    record: dict[str, Any] = plain(asdict(each))
    return record | {"crossing": _share(each.crossing), "enough": _share(each.enough)}


def _share(estimate: ShareEstimate) -> dict[str, Any]:
    ends = {key: OUTSIDE.get(getattr(estimate, key)) for key in ("share", "low", "high")}
    record: dict[str, Any] = plain(asdict(estimate))
    return record | {key: word for key, word in ends.items() if word}


def as_metrics(result: LabelEfficiencyResult) -> dict[str, float]:
    """The few numbers to track from run to run; what is not known is left out."""
    values: dict[str, float] = {"train_lesions": result.train_lesions}
    for point in result.points:
        values |= {f"{point.arm}/{point.share:g}/{name}": each.mean for name, each in point.scores.items()}
    for each in result.comparisons:
        if each.metric == LEADING:
            values |= {
                f"{each.arm}/crossing": each.crossing.share,
                f"{each.arm}/crossing_outside": each.crossing.outside,
                f"{each.arm}/enough": each.enough.share,
            }
    return {name: float(value) + 0.0 for name, value in values.items() if np.isfinite(value)}
