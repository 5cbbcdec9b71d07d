"""The comparison as files: JSON record, table, and the few metrics that are followed from run to run."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from components.base.json_data import plain
from components.comparison.arm_summary import ArmSummary
from components.comparison.comparison import Comparison
from components.comparison.overfitting_gap import DECIDING_GAP
from components.comparison.settings import Evaluate
from components.statistics.intervals import Interval
from components.statistics.significance import smallest_adjusted_p

_END = re.compile("_(?=(low|high)$)")
"""Of a class that is named as the end of an interval: `mel_low` and the lower end of `mel` need two columns."""


def as_record(comparison: Comparison, evaluate: Evaluate) -> dict[str, Any]:
    """The comparison as data for JSON: numbers in full, null for what is not known.

    `plan` holds what was compared, and how certain a verdict must be.
    """
    fields = asdict(comparison)
    plan, settings = fields.pop("question"), fields.pop("settings")
    plan |= {"calibration_bins": evaluate.calibration_bins, "power": settings.power, "onset": settings.onset}
    plan["smallest_p"] = smallest_adjusted_p(comparison.question.resamples, comparison.question.tests)
    found: dict[str, Any] = plain({"plan": plan, **fields})
    for record, of in zip(found["differences"], comparison.differences, strict=True):
        outcome = of.verdict.outcome
        record["verdict"] |= {"sentence": of.verdict.sentence, "outcome": outcome.name}
        record["verdict"]["decides_accuracy"] = outcome.decides_accuracy
        record["verdict"]["regions"] = {"accuracy": outcome.accuracy.name, "gap": outcome.gap.name}
    found["recommendation"]["sentence"] = comparison.recommendation.sentence
    return found


def as_table(comparison: Comparison) -> pd.DataFrame:
    """One row an arm and protocol, one column a number; an interval has the columns NAME, NAME_low, NAME_high."""
    return pd.DataFrame([_cells(row, len(comparison.question.seeds)) for row in comparison.rows])


def _cells(row: ArmSummary, seeds: int) -> dict[str, object]:
    cells: dict[str, object] = {"arm": row.arm, "protocol": row.protocol, "seeds": seeds}
    for key, trend in row.trends.items():
        cells |= {f"{key}_first": trend.first, **_interval_cells(key, trend.last), f"{key}_change": trend.change}
    for key, gap in row.gaps.items():
        cells |= _interval_cells(key, gap) | _interval_cells(f"{key}_last", row.gaps_last[key])
        cells |= _interval_cells(f"{key}_best", row.gaps_best[key])
        cells |= _interval_cells(f"{key}_area", row.gap_areas[key])
    cells["val/balanced_accuracy_kept"] = row.val
    for key, interval in row.test.items():
        cells |= _interval_cells(f"test/{_END.sub('_x005F_', key)}", interval)
    return {key: plain(value) for key, value in cells.items()}


def _interval_cells(name: str, interval: Interval) -> dict[str, float]:
    return {f"{name}{end}": value for end, value in _ends(interval)}


def internal_test(comparison: Comparison) -> dict[str, Any]:
    """The internal test, beside which the results on external test sets are shown."""
    images = sum(comparison.test_images.values())
    return {"images": images, "groups": comparison.groups, "models": _test_accuracies(comparison)}


def all_lesions(comparison: Comparison) -> dict[str, Any]:
    """The arms with all train lesions: the last point of every curve over labels."""
    return {"models": _test_accuracies(comparison)}


def _test_accuracies(comparison: Comparison) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plain(
        [
            {"arm": row.arm, "protocol": row.protocol, "balanced_accuracy": asdict(row.test["balanced_accuracy"])}
            for row in comparison.rows
        ]
    )
    return found


def as_metrics(comparison: Comparison) -> dict[str, float]:
    """The few numbers to follow from run to run, by `ARM-PROTOCOL/NAME`; what is not known is left out."""
    found: dict[str, float] = {}
    for row in comparison.rows:
        test = row.test["balanced_accuracy"]
        found |= {f"{row.name}/balanced_accuracy{end}": value for end, value in _ends(test)}
        found |= {f"{row.name}/macro_auroc": row.test["macro_auroc"].mean, f"{row.name}/ece": row.test["ece"].mean}
        found[f"{row.name}/{DECIDING_GAP}"] = row.gaps[DECIDING_GAP].mean
    for difference in comparison.differences:
        base = f"{difference.name}/difference"
        found |= {f"{base}{end}": value for end, value in _ends(difference.test["balanced_accuracy"])}
        found[f"{base}_p"] = difference.tests["differs"].holm
    return {key: float(value) + 0.0 for key, value in found.items() if np.isfinite(value)}


def _ends(interval: Interval) -> list[tuple[str, float]]:
    return [("", interval.mean), ("_low", interval.low), ("_high", interval.high)]
