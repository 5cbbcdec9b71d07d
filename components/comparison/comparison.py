"""From the study's runs to the answer: every number of the report, computed once and kept as plain data.

Letters: N images, K classes, G groups (lesions or patients), R resamples, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.base.errors import DataError
from components.base.json_data import plain
from components.base.log import Log
from components.comparison.overfitting_gap import QUANTITIES, Contrast, area, horizon, onset, paired
from components.comparison.verdict import Candidate, Finding, Recommendation, Verdict, recommend, verdict
from components.statistics import bootstrap, intervals
from components.statistics.bootstrap import Design, Sample
from components.statistics.intervals import Estimate, Interval, Sources, estimate, student_interval
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.log_loss import log_loss
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.metrics.sensitivity import sensitivity
from components.statistics.power import Need, needed
from components.statistics.rule import Rule
from components.statistics.runs import Images, Run, by_protocol, check_conditions, probabilities, same_images
from components.statistics.significance import (
    Delong,
    Mcnemar,
    Tested,
    clustered_mcnemar,
    correct,
    delong,
    recall_shares,
    sum_by_group,
    swap_arms,
)

Array = npt.NDArray[Any]

RESAMPLED = {
    "balanced_accuracy": balanced_accuracy,
    "macro_auroc": macro_auroc,
    "accuracy": accuracy,
    "log_loss": log_loss,
}
"""Metrics measured in every resample. Calibration error is not among them: resampling inflates it."""

GAP = "gap/loss"
"""The gap that verdicts look at: val minus train loss at the last epoch, the paper's likelier reading."""

GAPS = tuple(f"gap/{name}" for name in QUANTITIES)

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
    power: float  # chance to find a difference as large as the margin, for which studies are planned
    onset: float  # nats; the gap in loss that counts as begun

    @property
    def comparisons(self) -> int:
        """Size of the family that Holm's correction is over."""
        return (len(self.arms) - 1) * len(self.protocols)


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
    gaps: Mapping[str, Interval]  # GAPS at the last epoch, over seeds
    gaps_best: Mapping[str, Interval]  # at the epoch that is kept
    gap_areas: Mapping[str, Interval]  # over the epochs that all runs of the protocol have
    onsets: tuple[int | None, ...]  # a seed: the epoch, from 1, from which the gap in loss stays above plan.onset
    test: Mapping[str, Interval]  # RESAMPLED and sensitivity.CLASS: seeds and lesions; ece: seeds
    sources: Mapping[str, Sources]  # of RESAMPLED
    val_balanced_accuracy: Mapping[str, float]  # by run
    confusion: tuple[tuple[float, ...], ...]  # (K, K) mean counts over seeds; rows are the truth

    @property
    def name(self) -> str:
        """`<arm>-<protocol>`."""
        return f"{self.arm}-{self.protocol}"

    @property
    def val(self) -> float:
        """Mean balanced accuracy on val."""
        return float(np.mean(list(self.val_balanced_accuracy.values())))


@dataclass(frozen=True)
class Beside:
    """What known tests say of the trained models: lesions are their only luck, seeds are not counted."""

    permutation: float  # p of balanced accuracy, arms swapped within lesions
    delong: Delong  # macro AUROC
    mcnemar: Mcnemar  # decisions, by lesion


@dataclass(frozen=True)
class Difference:
    """An arm minus the reference under one protocol, seed by seed and lesion by lesion."""

    arm: str
    protocol: str
    test: Mapping[str, Interval]  # RESAMPLED
    sources: Mapping[str, Sources]  # of RESAMPLED
    seed_only: Interval  # balanced accuracy over seeds alone, Student's t
    by_seed: tuple[float, ...]  # balanced accuracy
    gap: Interval  # GAP at the last epoch, over seeds
    gaps: Mapping[str, Mapping[str, Contrast]]  # of GAPS: last, best, area
    tests: Mapping[str, Tested]  # balanced accuracy: differs, above_margin, below_margin; gap: differs
    beside: Beside
    need: Need | None  # to find a difference as large as the margin; None without margin or with one seed
    verdict: Verdict

    @property
    def name(self) -> str:
        """`<arm>-<protocol>`."""
        return f"{self.arm}-{self.protocol}"


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
    epochs: Mapping[str, int]  # by protocol, those that all runs have: the gap's area is over them


@dataclass(frozen=True)
class Measured:
    """One run on the test images: each metric as it is, in every resample, and without each lesion."""

    samples: Mapping[str, Sample]
    probabilities: Array  # (N, K)
    ece: float
    confusion: Array  # (K, K) counts


@dataclass(frozen=True)
class _Pair:
    """An arm's runs and the reference's under one protocol, seed by seed."""

    arm: Sequence[Run]
    reference: Sequence[Run]
    ours: Sequence[Measured]
    theirs: Sequence[Measured]
    epochs: int

    def estimate(self, name: str, design: Design) -> Estimate:
        """A metric's paired difference: the same seeds and the same resampled lesions on both sides."""
        both = zip(self.ours, self.theirs, strict=True)
        return estimate([mine.samples[name] - its.samples[name] for mine, its in both], design.strata)


def compare_runs(runs: Sequence[Run], plan: Plan, log: Log) -> Comparison:
    """Every number of the report from `runs`, ordered by protocol, arm, seed; deterministic by `plan.seed`.

    Raises DataError where runs are not comparable: other images, other conditions, stale metrics.
    """
    fingerprints = check_conditions(runs)
    test = same_images(runs, "test", plan.classes)
    design = bootstrap.lay_out(test.groups, test.labels, plan.resamples, np.random.default_rng(plan.seed))
    measured = {
        run.name: _measure(run, test, design, plan.classes)
        for run in log.track(runs, len(runs), f"runs, {plan.resamples} resamples of {len(set(test.groups))} lesions")
    }
    sheets = by_protocol(runs)
    epochs = {name: horizon([run.curve for arm in arms.values() for run in arm]) for name, arms in sheets.items()}
    rows = tuple(
        _row(group, measured, design, plan, epochs[name]) for name, arms in sheets.items() for group in arms.values()
    )
    differences = _differences(sheets, measured, test, design, plan, epochs)
    recommendation = _recommendation(rows, plan)
    return Comparison(plan, rows, differences, recommendation, fingerprints, *_census(test, plan.classes), epochs)


def _measure(run: Run, test: Images, design: Design, classes: Sequence[str]) -> Measured:
    p = probabilities(run, "test", classes)  # (N, K)
    samples = {name: design.apply(metric, test.labels, p) for name, metric in RESAMPLED.items()}
    by_class = sensitivity(test.labels, p, design.columns)  # (K, 1 + R + G)
    samples |= {f"sensitivity.{name}": design.split(by_class[k]) for k, name in enumerate(classes)}
    _check_fresh(run, {name: sample.value for name, sample in samples.items()})
    confusion = np.zeros((len(classes), len(classes)))
    np.add.at(confusion, (test.labels, p.argmax(1)), 1)
    return Measured(samples, p, float(run.measured["ece"]), confusion)


def _check_fresh(run: Run, values: Mapping[str, float]) -> None:
    """What evaluate reported must be what its predictions say."""
    for name in ("balanced_accuracy", "accuracy"):
        if abs(float(run.measured[name]) - values[name]) > 1e-4:
            raise DataError(
                f"metrics/evaluate.json says {name} {run.measured[name]:.4f} of {run.name}, its predictions say "
                f"{values[name]:.4f}: one of them is stale; repeat: dvc repro -f evaluate"
            )


def _row(runs: Sequence[Run], measured: Mapping[str, Measured], design: Design, plan: Plan, epochs: int) -> Row:
    confidence = plan.rule.confidence
    results = [measured[run.name] for run in runs]
    found = {name: _estimate(results, name, design) for name in results[0].samples}
    test = {name: each.interval(confidence) for name, each in found.items()}
    test["ece"] = student_interval(np.array([result.ece for result in results]), confidence)
    gaps = {
        name: {key: student_interval(values, confidence) for key, values in _gaps(runs, name, epochs).items()}
        for name in GAPS
    }
    return Row(
        arm=runs[0].arm,
        protocol=runs[0].protocol,
        trends={key: _trend(runs, key, confidence) for key in ("val/loss", "train/accuracy", "val/accuracy")},
        gaps={name: gap["last"] for name, gap in gaps.items()},
        gaps_best={name: gap["best"] for name, gap in gaps.items()},
        gap_areas={name: gap["area"] for name, gap in gaps.items()},
        onsets=tuple(onset(_curve(run, GAP), plan.onset) for run in runs),
        test=test,
        sources={name: found[name].sources for name in RESAMPLED},
        val_balanced_accuracy={run.name: _val_balanced_accuracy(run, plan.classes) for run in runs},
        confusion=tuple(tuple(row) for row in np.mean([result.confusion for result in results], axis=0).tolist()),
    )


def _estimate(results: Sequence[Measured], name: str, design: Design) -> Estimate:
    """A metric's mean over seeds, whose intervals stay inside its range."""
    bounds = (0.0, np.inf) if name == "log_loss" else (0.0, 1.0)
    return estimate([result.samples[name] for result in results], design.strata, bounds)


def _gaps(runs: Sequence[Run], name: str, epochs: int) -> dict[str, Array]:
    """One number a seed (S,): a gap at the last epoch, at the best one, and its area over `epochs`."""
    areas = np.array([area(_curve(run, name), epochs) for run in runs])
    return {"last": _column(runs, "last", name), "best": _column(runs, "best", name), "area": areas}


def _curve(run: Run, name: str) -> Array:
    if name not in run.curve:
        raise DataError(f"the curve of finetune run {run.name} lacks {name}; repeat: dvc repro -f finetune")
    return run.curve[name].to_numpy(float)


def _trend(runs: Sequence[Run], key: str, confidence: float) -> Trend:
    first = float(_column(runs, "first", key).mean())
    last = student_interval(_column(runs, "last", key), confidence)
    return Trend(first, last, intervals.relative_change(first, last.mean))


def _column(runs: Sequence[Run], epoch: str, key: str) -> Array:
    """One number a seed, (S,), from the runs' first, last or best epoch."""
    lacking = [run.name for run in runs if key not in run.summary[epoch]]
    if lacking:
        raise DataError(
            f"metrics of finetune run {lacking[0]} lack {key} of the {epoch} epoch; repeat: dvc repro -f finetune"
        )
    return np.array([float(run.summary[epoch][key]) for run in runs])


def _val_balanced_accuracy(run: Run, classes: Sequence[str]) -> float:
    val = same_images([run], "val", classes)
    p = probabilities(run, "val", classes)
    return balanced_accuracy(val.labels, p)


def _differences(
    sheets: Mapping[str, Mapping[str, Sequence[Run]]],
    measured: Mapping[str, Measured],
    test: Images,
    design: Design,
    plan: Plan,
    epochs: Mapping[str, int],
) -> tuple[Difference, ...]:
    """Every arm against the reference; p-values are corrected over all of them at once."""
    pairs = [
        _pair(arms[arm], arms[plan.reference], measured, epochs[protocol])
        for protocol, arms in sheets.items()
        for arm in plan.arms
        if arm != plan.reference
    ]
    found = [pair.estimate("balanced_accuracy", design) for pair in pairs]
    tests = correct([_p_values(pair, each, plan.rule) for pair, each in zip(pairs, found, strict=True)])
    return tuple(_difference(pair, its, test, design, plan) for pair, its in zip(pairs, tests, strict=True))


def _pair(arm: Sequence[Run], reference: Sequence[Run], measured: Mapping[str, Measured], epochs: int) -> _Pair:
    ours, theirs = [measured[run.name] for run in arm], [measured[run.name] for run in reference]
    return _Pair(arm, reference, ours, theirs, epochs)


def _p_values(pair: _Pair, accuracy: Estimate, rule: Rule) -> dict[str, float]:
    """The four questions that a verdict asks of a comparison."""
    return {
        "differs": accuracy.p_value(0.0),
        "above_margin": accuracy.p_value(-rule.margin) if accuracy.mean > -rule.margin else 1.0,
        "below_margin": accuracy.p_value(rule.margin) if accuracy.mean < rule.margin else 1.0,
        "gap": _gap_contrast(pair, GAP, rule.confidence)["last"].p,
    }


def _gap_contrast(pair: _Pair, name: str, confidence: float) -> dict[str, Contrast]:
    ours, theirs = (_gaps(runs, name, pair.epochs) for runs in (pair.arm, pair.reference))
    return {key: paired(ours[key] - theirs[key], confidence) for key in ours}


def _difference(pair: _Pair, tests: Mapping[str, Tested], test: Images, design: Design, plan: Plan) -> Difference:
    rule, (arm, protocol) = plan.rule, (pair.arm[0].arm, pair.arm[0].protocol)
    found = {name: pair.estimate(name, design) for name in RESAMPLED}
    intervals = {name: each.interval(rule.confidence) for name, each in found.items()}
    by_seed = np.array(
        [
            mine.samples["balanced_accuracy"].value - its.samples["balanced_accuracy"].value
            for mine, its in zip(pair.ours, pair.theirs, strict=True)
        ]
    )
    gaps = {name: _gap_contrast(pair, name, rule.confidence) for name in GAPS}
    accuracy = Finding(
        intervals["balanced_accuracy"],
        *(tests[question].holm for question in ("differs", "above_margin", "below_margin")),
    )
    gap = Finding(gaps[GAP]["last"].interval, tests["gap"].holm)
    names = (arm, plan.reference, protocol)
    return Difference(
        arm=arm,
        protocol=protocol,
        test=intervals,
        sources={name: each.sources for name, each in found.items()},
        seed_only=student_interval(by_seed, rule.confidence),
        by_seed=tuple(by_seed.tolist()),
        gap=gap.interval,
        gaps=gaps,
        tests=tests,
        beside=_beside(pair, test, plan),
        need=_need(found["balanced_accuracy"].sources, plan),
        verdict=verdict(names, accuracy, gap, len(pair.arm), rule, plan.synthetic),
    )


def _beside(pair: _Pair, test: Images, plan: Plan) -> Beside:
    ours, theirs = ([result.probabilities for result in side] for side in (pair.ours, pair.theirs))
    shares = [np.mean([recall_shares(test.labels, p) for p in side], axis=0) for side in (ours, theirs)]
    ours_right, theirs_right = (np.stack([p.argmax(1) == test.labels for p in side]) for side in (ours, theirs))
    rng = np.random.default_rng([plan.seed, 1])  # other draws than the bootstrap's
    return Beside(
        swap_arms(sum_by_group(shares[0] - shares[1], test.groups), plan.resamples, rng),
        delong(test.labels, ours, theirs, test.groups),
        clustered_mcnemar(ours_right, theirs_right, test.groups),
    )


def _need(sources: Sources, plan: Plan) -> Need | None:
    """At the level that Holm asks of a family's smallest p-value."""
    if plan.rule.margin <= 0 or sources.seeds < 2 or not sources.both > 0:
        return None
    return needed(sources, plan.rule.margin, plan.rule.alpha / plan.comparisons, plan.power)


def _recommendation(rows: Sequence[Row], plan: Plan) -> Recommendation:
    candidates = [
        Candidate(
            row.name,
            row.val,
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
    found: dict[str, Any] = plain(asdict(comparison))
    for record, of in zip(found["differences"], comparison.differences, strict=True):
        record["verdict"]["sentence"] = of.verdict.sentence
    found["recommendation"]["sentence"] = comparison.recommendation.sentence
    return found


def as_table(comparison: Comparison) -> pd.DataFrame:
    """One row an arm and protocol, one column a number; intervals as NAME, NAME_low, NAME_high."""
    return pd.DataFrame([_cells(row, len(comparison.plan.seeds)) for row in comparison.rows])


def _cells(row: Row, seeds: int) -> dict[str, object]:
    cells: dict[str, object] = {"arm": row.arm, "protocol": row.protocol, "seeds": seeds}
    for key, trend in row.trends.items():
        cells |= {f"{key}_first": trend.first, **_spread(key, trend.last), f"{key}_change": trend.change}
    for key, gap in row.gaps.items():
        cells |= _spread(key, gap) | _spread(f"{key}_best", row.gaps_best[key])
        cells |= _spread(f"{key}_area", row.gap_areas[key])
    cells["val/balanced_accuracy_kept"] = row.val
    for key, interval in row.test.items():
        cells |= _spread(f"test/{key}", interval)
    return {key: plain(value) for key, value in cells.items()}


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
        found[f"{base}_p"] = difference.tests["differs"].holm
    return {key: round(value, 6) + 0.0 for key, value in found.items() if np.isfinite(value)}


def _ends(interval: Interval) -> list[tuple[str, float]]:
    return [("", interval.mean), ("_low", interval.low), ("_high", interval.high)]
