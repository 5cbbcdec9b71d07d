"""From the study's runs to the answer: every number of the report, computed once and kept as plain data.

Letters: N images, K classes, R resamples, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components import statistics
from components.errors import DataError
from components.log import Log
from components.runs import Images, Run, by_protocol, check_conditions, probabilities, same_images
from components.statistics import Interval, percentile_interval, relative_change, student_interval, two_level
from components.verdict import Candidate, Recommendation, Rule, Verdict, recommend, verdict

Array = npt.NDArray[Any]

RESAMPLED = ("balanced_accuracy", "macro_auroc", "accuracy", "log_loss")
"""Functions of components.statistics. Calibration error is not among them: resampling inflates it."""

GAP = "gap/loss"
"""The gap that verdicts look at: val minus train loss at the last epoch, the paper's likelier reading."""

FEW_LESIONS = 10
"""Test lesions of a class below which its sensitivity is hardly known."""


@dataclass(frozen=True)
class Plan:
    """What is compared, and how sure it must be."""

    study: str
    arms: tuple[str, ...]
    protocols: tuple[str, ...]
    seeds: tuple[int, ...]
    reference: str
    classes: tuple[str, ...]
    rule: Rule
    resamples: int
    calibration_bins: int
    seed: int
    synthetic: bool


@dataclass(frozen=True)
class Trend:
    """A number that learns: mean over seeds at the first epoch, interval over seeds at the last."""

    first: float
    last: Interval
    change: float  # of the means, in shares of the first; NaN from zero


@dataclass(frozen=True)
class Row:
    """One arm under one protocol: the paper's columns, and the test images' verdict on it."""

    arm: str
    protocol: str
    trends: Mapping[str, Trend]  # val/loss, train/accuracy, val/accuracy
    gaps: Mapping[str, Interval]  # gap/loss, gap/accuracy at the last epoch, over seeds
    gaps_best: Mapping[str, Interval]  # at the epoch that is kept
    test: Mapping[str, Interval]  # RESAMPLED and sensitivity.CLASS: seeds and lesions; ece: seeds
    val_balanced_accuracy: Mapping[str, float]  # by run
    confusion: tuple[tuple[float, ...], ...]  # (K, K) mean counts over seeds; rows are the truth

    @property
    def name(self) -> str:
        """`<arm>-<protocol>`."""
        return f"{self.arm}-{self.protocol}"


@dataclass(frozen=True)
class Difference:
    """An arm minus the reference under one protocol, seed by seed and lesion by lesion."""

    arm: str
    protocol: str
    test: Mapping[str, Interval]  # RESAMPLED
    seed_only: Interval  # balanced accuracy over seeds alone, Student's t
    by_seed: tuple[float, ...]  # balanced accuracy
    gap: Interval  # GAP at the last epoch, over seeds
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """The answer."""

    plan: Plan
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    recommendation: Recommendation
    fingerprints: Mapping[str, Mapping[str, str]]  # by protocol and seed, equal for all arms
    test_images: Mapping[str, int]  # by class
    test_lesions: Mapping[str, int]  # by class, groups
    groups: int  # in test


@dataclass(frozen=True)
class Measured:
    """One run on the test images: each metric as it is, and in every resample."""

    values: Mapping[str, float]
    resampled: Mapping[str, Array]  # (R,)
    confusion: Array  # (K, K) counts


def compare_runs(runs: Sequence[Run], plan: Plan, log: Log) -> Comparison:
    """Every number of the report from `runs`, ordered by protocol, arm, seed; deterministic by `plan.seed`.

    Raises DataError where runs are not comparable: other images, other conditions, stale metrics.
    """
    fingerprints = check_conditions(runs)
    test = same_images(runs, "test", plan.classes)
    rng = np.random.default_rng(plan.seed)
    weights = statistics.resample_groups(test.groups, plan.resamples, rng)  # (N, R), the same for all runs
    draws = statistics.seed_draws(len(plan.seeds), plan.resamples, rng)  # (R,)
    measured = {
        run.name: _measure(run, test, weights, plan.classes)
        for run in log.track(runs, len(runs), f"runs, {plan.resamples} resamples of {len(set(test.groups))} lesions")
    }
    sheets = by_protocol(runs)
    rows = tuple(_row(group, measured, draws, plan) for arms in sheets.values() for group in arms.values())
    differences = tuple(
        _difference(arms[arm], arms[plan.reference], measured, draws, plan)
        for arms in sheets.values()
        for arm in plan.arms
        if arm != plan.reference
    )
    return Comparison(plan, rows, differences, _recommendation(rows, plan), fingerprints, *_census(test, plan.classes))


def _measure(run: Run, test: Images, weights: Array, classes: Sequence[str]) -> Measured:
    p = probabilities(run, "test", classes)  # (N, K)
    values = {name: float(array[0]) for name, array in _metrics(test.labels, p, statistics.once(len(p)), classes)}
    _check_fresh(run, values)
    ece = float(run.measured["ece"])
    confusion = np.zeros((len(classes), len(classes)))
    np.add.at(confusion, (test.labels, p.argmax(1)), 1)
    return Measured({**values, "ece": ece}, dict(_metrics(test.labels, p, weights, classes)), confusion)


def _metrics(labels: Array, p: Array, weights: Array, classes: Sequence[str]) -> list[tuple[str, Array]]:
    named = [(name, getattr(statistics, name)(labels, p, weights)) for name in RESAMPLED]
    by_class = statistics.sensitivities(labels, p, weights)  # (K, R)
    return named + [(f"sensitivity.{name}", by_class[k]) for k, name in enumerate(classes)]


def _check_fresh(run: Run, values: Mapping[str, float]) -> None:
    """What evaluate reported must be what its predictions say."""
    for name in ("balanced_accuracy", "accuracy"):
        if abs(float(run.measured[name]) - values[name]) > 1e-4:
            raise DataError(
                f"metrics/evaluate.json says {name} {run.measured[name]:.4f} of {run.name}, its predictions say "
                f"{values[name]:.4f}: one of them is stale; repeat: dvc repro -f evaluate"
            )


def _row(runs: Sequence[Run], measured: Mapping[str, Measured], draws: Array, plan: Plan) -> Row:
    confidence = plan.rule.confidence
    results = [measured[run.name] for run in runs]
    test = {name: _interval(results, name, draws, confidence) for name in results[0].resampled}
    test["ece"] = student_interval(np.array([result.values["ece"] for result in results]), confidence)
    trends = {key: _trend(runs, key, confidence) for key in ("val/loss", "train/accuracy", "val/accuracy")}
    return Row(
        runs[0].arm,
        runs[0].protocol,
        trends,
        _gaps(runs, "last", confidence),
        _gaps(runs, "best", confidence),
        test,
        {run.name: _val_balanced_accuracy(run, plan.classes) for run in runs},
        tuple(tuple(row) for row in np.mean([result.confusion for result in results], axis=0).tolist()),
    )


def _gaps(runs: Sequence[Run], epoch: str, confidence: float) -> dict[str, Interval]:
    keys = ("gap/loss", "gap/accuracy")
    return {key: student_interval(_column(runs, epoch, key), confidence) for key in keys}


def _trend(runs: Sequence[Run], key: str, confidence: float) -> Trend:
    first = float(_column(runs, "first", key).mean())
    last = student_interval(_column(runs, "last", key), confidence)
    return Trend(first, last, relative_change(first, last.mean))


def _column(runs: Sequence[Run], epoch: str, key: str) -> Array:
    """One number a seed, (S,), from the runs' first, last or best epoch."""
    return np.array([float(run.summary[epoch][key]) for run in runs])


def _interval(results: Sequence[Measured], name: str, draws: Array, confidence: float) -> Interval:
    """A metric over seeds and lesions at once, inside its range."""
    mean = float(np.mean([result.values[name] for result in results]))
    by_seed = np.stack([result.resampled[name] for result in results])  # (S, R)
    bounds = (0.0, np.inf) if name == "log_loss" else (0.0, 1.0)
    return percentile_interval(mean, two_level(by_seed, draws), confidence, bounds)


def _val_balanced_accuracy(run: Run, classes: Sequence[str]) -> float:
    val = same_images([run], "val", classes)
    p = probabilities(run, "val", classes)
    return float(statistics.balanced_accuracy(val.labels, p, statistics.once(len(p)))[0])


def _difference(
    arm: Sequence[Run], reference: Sequence[Run], measured: Mapping[str, Measured], draws: Array, plan: Plan
) -> Difference:
    """Paired: the same seeds and the same resampled lesions on both sides."""
    rule = plan.rule
    ours, theirs = [measured[run.name] for run in arm], [measured[run.name] for run in reference]
    test = {name: _paired(ours, theirs, name, draws, rule.confidence) for name in RESAMPLED}
    by_seed = _by_seed(ours, theirs, "balanced_accuracy")
    gap = student_interval(_column(arm, "last", GAP) - _column(reference, "last", GAP), rule.confidence)
    names = (arm[0].arm, plan.reference, arm[0].protocol)
    said = verdict(names, test["balanced_accuracy"], gap, len(arm), rule, plan.synthetic)
    seed_only = student_interval(by_seed, rule.confidence)
    return Difference(arm[0].arm, arm[0].protocol, test, seed_only, tuple(by_seed.tolist()), gap, said)


def _by_seed(ours: Sequence[Measured], theirs: Sequence[Measured], name: str) -> Array:
    return np.array([mine.values[name] - its.values[name] for mine, its in zip(ours, theirs, strict=True)])


def _paired(
    ours: Sequence[Measured], theirs: Sequence[Measured], name: str, draws: Array, confidence: float
) -> Interval:
    pairs = zip(ours, theirs, strict=True)
    by_seed = np.stack([mine.resampled[name] - its.resampled[name] for mine, its in pairs])  # (S, R)
    mean = float(_by_seed(ours, theirs, name).mean())
    return percentile_interval(mean, two_level(by_seed, draws), confidence)


def _recommendation(rows: Sequence[Row], plan: Plan) -> Recommendation:
    candidates = [
        Candidate(
            row.name,
            float(np.mean(list(row.val_balanced_accuracy.values()))),
            row.test["balanced_accuracy"],
            max(row.val_balanced_accuracy, key=lambda run: row.val_balanced_accuracy[run]),
        )
        for row in rows
    ]
    return recommend(candidates, len(plan.classes), len(plan.seeds), plan.rule, plan.synthetic)


def _census(test: Images, classes: Sequence[str]) -> tuple[dict[str, int], dict[str, int], int]:
    """Test images by class, test lesions by class, and lesions in all."""
    images = {name: int((test.labels == k).sum()) for k, name in enumerate(classes)}
    lesions = {name: len(set(test.groups[test.labels == k])) for k, name in enumerate(classes)}
    return images, lesions, len(set(test.groups))


def as_record(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON-able data: six decimals, null for what is not known."""
    return {str(key): _plain(value) for key, value in asdict(comparison).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) + 0.0 if np.isfinite(value) else None  # + 0.0: no minus zero
    return value


def as_table(comparison: Comparison) -> pd.DataFrame:
    """One row an arm and protocol, one column a number; intervals as NAME, NAME_low, NAME_high."""
    return pd.DataFrame([_cells(row, len(comparison.plan.seeds)) for row in comparison.rows])


def _cells(row: Row, seeds: int) -> dict[str, object]:
    cells: dict[str, object] = {"arm": row.arm, "protocol": row.protocol, "seeds": seeds}
    for key, trend in row.trends.items():
        cells |= {f"{key}_first": trend.first, **_spread(key, trend.last), f"{key}_change": trend.change}
    for key, gap in row.gaps.items():
        cells |= _spread(key, gap) | _spread(f"{key}_best", row.gaps_best[key])
    for key, interval in row.test.items():
        cells |= _spread(f"test/{key}", interval)
    return {key: _plain(value) for key, value in cells.items()}


def _spread(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def as_metrics(comparison: Comparison) -> dict[str, float]:
    """The few numbers to follow from run to run: `ARM-PROTOCOL/NAME`; what is not known is left out."""
    found: dict[str, float] = {}
    for row in comparison.rows:
        test = row.test["balanced_accuracy"]
        found |= {f"{row.name}/balanced_accuracy{end}": value for end, value in _ends(test)}
        found |= {f"{row.name}/macro_auroc": row.test["macro_auroc"].mean, f"{row.name}/ece": row.test["ece"].mean}
        found[f"{row.name}/{GAP}"] = row.gaps[GAP].mean
    for difference in comparison.differences:
        base = f"{difference.arm}-{difference.protocol}/difference"
        found |= {f"{base}{end}": value for end, value in _ends(difference.test["balanced_accuracy"])}
    return {key: round(value, 6) + 0.0 for key, value in found.items() if np.isfinite(value)}


def _ends(interval: Interval) -> list[tuple[str, float]]:
    return [("", interval.mean), ("_low", interval.low), ("_high", interval.high)]
