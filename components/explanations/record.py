"""The explanations as plain data: the JSON record next to the page, and the metrics compared from run to run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from components.explanations.analysis import ExplanationsResult, ModelExplanation
from components.explanations.map_check import MapSimilarity
from components.explanations.selection import ConfidentError
from components.explanations.settings import Explain
from components.statistics.intervals import Interval


def as_record(result: ExplanationsResult) -> dict[str, Any]:
    """JSON-able data without pixels, not rounded; null for values that are not known."""
    question, settings = result.question, result.settings
    return {
        "study": question.study,
        "synthetic": question.synthetic,
        "test_images": result.images,
        "test_lesions": result.groups,
        "confidence": question.rule.confidence,
        "same_from": settings.same_from,
        "max_missed": settings.max_missed,
        "cases": [{"image_id": each.image, "label": each.label, "why": each.reason} for each in result.cases],
        "models": {model.name: _model(model, settings) for model in result.models},
    }


def _model(model: ModelExplanation, settings: Explain) -> dict[str, Any]:
    return {
        "run": str(model.run),
        "maps": str(model.verdict(settings)),
        "likeness": {each.other: _similarity(each) for each in model.similarities},
        "integral_missed": _known(model.missed),
        "neighbour_agreement": _interval(model.agreement) | {"encoders": model.encoders},
        "test_images_wrong": model.wrong,
        "errors": [_error(each) for each in model.errors],
        "neighbours": {
            each.image: [
                {"image_id": near.image, "label": near.label, "distance": near.distance} for near in each.neighbours
            ]
            for each in model.cases
        },
    }


def _similarity(each: MapSimilarity) -> dict[str, Any]:
    parts = {"rank_correlation": each.rank, "of_magnitudes": each.magnitude, "ssim": each.structure}
    return {"lesions": each.lesions} | {name: _interval(value) for name, value in parts.items()}


def _error(error: ConfidentError) -> dict[str, Any]:
    return {
        "image_id": error.image,
        "label": error.label,
        "answer": error.predicted,
        "probability": error.probability,
        "missed": error.missed,
        "seeds_wrong": error.seeds_wrong,
        "seeds": error.seeds,
        "arms_wrong": error.arms_wrong,
        "other_arms": error.other_arms,
    }


def _interval(interval: Interval) -> dict[str, Any]:
    return {"mean": _known(interval.mean), "low": _known(interval.low), "high": _known(interval.high)}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def as_metrics(result: ExplanationsResult) -> dict[str, dict[str, float]]:
    """Metrics by model; values that are not known are left out."""
    return {model.name: dict(_metrics(model)) for model in result.models}


def _metrics(model: ModelExplanation) -> Iterable[tuple[str, float]]:
    pairs = [("neighbour_agreement", model.agreement.mean), ("integral_missed", model.missed)]
    pairs += [(f"likeness.{each.other.replace(' ', '_')}", each.rank.mean) for each in model.similarities]
    return ((name, float(value)) for name, value in pairs if np.isfinite(value))
