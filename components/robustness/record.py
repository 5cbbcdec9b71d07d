"""The result as plain data: the JSON record next to the page, and the metrics that are compared from run to run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from components.base.json_data import plain
from components.robustness.analysis import ModelRobustness, RobustnessResult
from components.robustness.corruption_drop import CorruptionDrop, DropDifference
from components.robustness.shortcut_test import AgainstChance, ShortcutResult
from components.statistics.significance import smallest_adjusted_p


def as_record(result: RobustnessResult) -> dict[str, Any]:
    """JSON-able data: numbers in full, null for values that are not known."""
    question, settings = result.question, result.settings
    plan = {
        "study": question.study,
        "arms": question.arms,
        "protocols": question.protocols,
        "reference": question.reference,
        "classes": question.classes,
        "kinds": settings.corruptions,
        "strengths": settings.strengths,
        "size": result.image_size,
        "border": settings.border,
        "min_seeds": question.rule.min_seeds,
        "confidence": question.rule.confidence,
        "resamples": question.resamples,
        "smallest_p": smallest_adjusted_p(question.resamples, result.corruption_tests),
        "seed": question.seed,
        "synthetic": question.synthetic,
    }
    record: dict[str, Any] = plain(
        {
            "plan": plan,
            "images": result.images,
            "groups": result.groups,
            "of_images": result.test_images,
            "seeds": len(question.seeds),
            "found": result.lesions_found,
            "reaching": result.lesions_touch_border,
            "sheets": [_model(model) for model in result.models],
        }
    )
    return record


def _model(model: ModelRobustness) -> dict[str, Any]:
    return {
        "arm": model.arm,
        "protocol": model.protocol,
        "clean": asdict(model.drops.clean),
        "kinds": [_corruption(each) for each in model.drops.corruptions],
        "drop": asdict(model.drops.overall),
        "versus": _difference(model.drops.difference),
        "shortcuts": [_shortcut(each) for each in model.shortcuts],
    }


def _corruption(corruption: CorruptionDrop) -> dict[str, Any]:
    points = [
        {"strength": each.strength, "accuracy": asdict(each.accuracy), "drop": asdict(each.drop)}
        for each in corruption.strengths
    ]
    return {
        "name": corruption.name,
        "points": points,
        "drop": asdict(corruption.drop),
        "versus": _difference(corruption.difference),
    }


def _difference(each: DropDifference | None) -> dict[str, Any] | None:
    if each is None:
        return None
    return {"interval": asdict(each.interval), "p": each.p, "holm": each.p_holm, "sure": each.significant}


def _shortcut(result: ShortcutResult) -> dict[str, Any]:
    return {
        "picture": result.picture,
        "images": result.images,
        "groups": result.groups,
        "classes": result.classes,
        "accuracy": _against_chance(result.accuracy),
        "auroc": _against_chance(result.auroc),
        "kept": None if result.kept is None else asdict(result.kept),
    }


def _against_chance(each: AgainstChance | None) -> dict[str, Any] | None:
    if each is None:
        return None
    interval = asdict(each.interval)
    return {"interval": interval, "guessing": each.chance, "p": each.p, "holm": each.p_holm, "sure": each.significant}


def as_metrics(result: RobustnessResult) -> dict[str, float]:
    """Metrics by `ARM-PROTOCOL/NAME`; values that are not known are left out."""
    found: dict[str, float] = {}
    for model in result.models:
        own = {"clean": model.drops.clean.mean, "mean_drop": model.drops.overall.mean}
        own |= {f"drop_{each.name}": each.drop.mean for each in model.drops.corruptions}
        own |= {each.picture: each.accuracy.interval.mean for each in model.shortcuts if each.accuracy}
        own |= {f"{each.picture}_auroc": each.auroc.interval.mean for each in model.shortcuts if each.auroc}
        found |= {f"{model.name}/{name}": value for name, value in own.items()}
    return {name: float(value) + 0.0 for name, value in found.items() if np.isfinite(value)}
