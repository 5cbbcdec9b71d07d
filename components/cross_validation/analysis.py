"""The folds of a study pooled: each arm, and each arm minus the reference.

The decision rests on the means over folds of the paired differences in balanced accuracy and in the overfitting gap,
averaged over seeds within each fold, by the corrected resampled t test. The bootstrap of all lesions is shown beside it
and decides nothing: it does not count the variance of the train set. Letters: F folds, S seeds, N images of all tests,
K classes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.base.log import Log
from components.base.run_id import FinetuneProtocol, model_name
from components.comparison.against_null import RESTORED
from components.comparison.measurements import RESAMPLED
from components.comparison.outcomes import (
    EXCLUSIVE,
    AccuracyRegion,
    EstimatedDifference,
    Learned,
    Outcome,
    accuracy_p_values,
    judge,
)
from components.comparison.overfitting_gap import DECIDING_GAP
from components.cross_validation.folds import Fold, check_folds
from components.cross_validation.gap import find_credit, measure_gaps
from components.statistics.bootstrap import Sample, make_design
from components.statistics.corrected_t import FoldMean, fold_mean
from components.statistics.intervals import UNBOUNDED, Interval, estimate
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.log_loss import log_loss
from components.statistics.question import StudyQuestion
from components.statistics.resampled import DIFFERENCE, LOSS, SHARE
from components.statistics.runs import probabilities
from components.statistics.significance import AdjustedP, holm_over_all

Array = npt.NDArray[Any]

DECIDING = "balanced_accuracy"

METRICS = {**RESAMPLED, RESTORED: log_loss}
"""Test metrics; RESTORED is of the probabilities with the class frequencies of train."""

LOSSES = ("log_loss", RESTORED)

RANKING = "macro_auroc"
"""It has no pooled value: it would rank scores of one fold's model against those of another."""


@dataclass(frozen=True)
class FoldSize:
    """How many lesions (or patients) and images a fold has."""

    number: int
    train_lesions: int
    test_lesions: int
    test_images: int


@dataclass(frozen=True)
class PooledArm:
    """One arm under one protocol, over all folds."""

    arm: str
    protocol: FinetuneProtocol
    by_fold: Mapping[str, tuple[float, ...]]
    """Metric, or DECIDING_GAP -> mean over seeds in each fold."""
    mean: Mapping[str, Interval]
    """Metric, or DECIDING_GAP -> mean over folds, with the interval of the corrected t."""
    pooled: Mapping[str, float]
    """Metric -> value of all test predictions together, mean over seeds; without the macro AUROC."""

    @property
    def name(self) -> str:
        """`ARM-PROTOCOL`."""
        return model_name(self.arm, self.protocol)


@dataclass(frozen=True)
class PooledDifference(PooledArm):
    """An arm minus the reference under one protocol: the same folds, seeds and lesions."""

    bootstrap: Interval
    """Balanced accuracy of all test predictions: bootstrap of all lesions joined with Student's t over seeds."""
    plain: Interval
    """Balanced accuracy by Student's t over folds without the correction: too short, for comparison."""
    tests: Mapping[str, AdjustedP]
    """Balanced accuracy: differs, above_margin, below_margin; gap: that it does not differ."""
    outcome: Outcome

    @property
    def region(self) -> AccuracyRegion:
        """Of the difference in balanced accuracy."""
        return self.outcome.accuracy


@dataclass(frozen=True)
class CrossValidation:
    """The answer of a study over all folds."""

    question: StudyQuestion
    folds: tuple[FoldSize, ...]
    test_by_train: float
    """n_test / n_train in lesions, mean over folds."""
    rows: tuple[PooledArm, ...]
    differences: tuple[PooledDifference, ...]

    @property
    def images(self) -> int:
        """Images of all tests."""
        return sum(fold.test_images for fold in self.folds)

    @property
    def lesions(self) -> int:
        """Lesions or patients of all tests."""
        return sum(fold.test_lesions for fold in self.folds)


@dataclass(frozen=True)
class ArmPredictions:
    """The test predictions of one arm under one protocol: a list of folds with one array (N of the fold, K) a seed."""

    arm: str
    protocol: FinetuneProtocol
    p: list[list[Array]]
    restored: list[list[Array]]

    def of(self, metric: str) -> list[list[Array]]:
        """Those that the metric is of."""
        return self.restored if metric == RESTORED else self.p


def pool_folds(folds: Sequence[Fold], question: StudyQuestion, labelled: Collection[str], log: Log) -> CrossValidation:
    """Pool the folds of a study; the same folds and question give the same numbers.

    Args:
        folds: all of the cross-validation.
        question: arms, reference, classes, decision rule, resamples and their seed.
        labelled: names of the accepted images with a label, each of which must be tested once.
        log: shows progress.

    Raises:
        DataError: where the folds are not one cross-validation.
    """
    check_folds(folds, question, labelled)
    tests = [fold.test(question.classes) for fold in folds]
    sizes = tuple(
        FoldSize(fold.number, fold.train_lesions, len(set(test.groups)), len(test.names))
        for fold, test in zip(folds, tests, strict=True)
    )
    ratio = float(np.mean([size.test_lesions / size.train_lesions for size in sizes]))
    labels = [test.labels for test in tests]
    arms = {
        (protocol, arm): _predictions(folds, arm, protocol, question)
        for protocol in question.protocols
        for arm in question.arms
    }
    names = log.track(list(arms), len(arms), "arms of all folds")
    gaps = measure_gaps(folds, question)
    by_seed = {
        key: {name: _by_fold(arms[key], name, labels) for name in METRICS} | {DECIDING_GAP: gaps[key]} for key in names
    }
    rows = tuple(
        PooledArm(
            each.arm,
            each.protocol,
            _seed_means(by_seed[key]),
            {name: _mean(values, ratio, _bounds(name)).interval(question.rule.confidence)
             for name, values in by_seed[key].items()},
            _pooled(each, labels),
        )
        for key, each in arms.items()
    )  # fmt: skip
    groups = np.concatenate([test.groups for test in tests])
    credit = find_credit(
        folds,
        {key: values[DECIDING] for key, values in by_seed.items()},
        {(row.protocol, row.arm): row.mean[DECIDING] for row in rows},
        question,
        ratio,
    )
    gets_credit = {key: each.gets_credit for key, each in credit.items()}
    differences = _differences(arms, by_seed, labels, groups, question, ratio, gets_credit)
    return CrossValidation(question, sizes, ratio, rows, differences)


def _predictions(
    folds: Sequence[Fold], arm: str, protocol: FinetuneProtocol, question: StudyQuestion
) -> ArmPredictions:
    """Of each fold, one array a seed in the study's order of seeds."""
    p = []
    for fold in folds:
        runs = {run.seed: run for run in fold.runs if (run.arm, run.protocol) == (arm, protocol)}
        p.append([probabilities(runs[seed], "test", question.classes) for seed in question.seeds])
    restored = [[fold.priors.restore(each) for each in of] for fold, of in zip(folds, p, strict=True)]
    return ArmPredictions(arm, protocol, p, restored)


def _by_fold(arm: ArmPredictions, metric: str, labels: Sequence[Array]) -> Array:
    """(F, S) a metric of each fold and seed."""
    values = [[float(METRICS[metric](of, p)) for p in seeds] for of, seeds in zip(labels, arm.of(metric), strict=True)]
    return np.array(values)


def _pooled(arm: ArmPredictions, labels: Sequence[Array]) -> dict[str, float]:
    """Metrics of all test predictions together, mean over seeds."""
    whole = np.concatenate(labels)
    return {
        name: float(np.mean([float(metric(whole, np.concatenate(p))) for p in zip(*arm.of(name), strict=True)]))
        for name, metric in METRICS.items()
        if name != RANKING
    }


def _seed_means(by_seed: Mapping[str, Array]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(values.mean(1).tolist()) for name, values in by_seed.items()}


def _mean(values: Array, ratio: float, bounds: tuple[float, float]) -> FoldMean:
    """Of values (F, S), which are averaged over seeds first."""
    return fold_mean(values.mean(1), ratio, bounds)


def _bounds(metric: str, difference: bool = False) -> tuple[float, float]:
    if metric == DECIDING_GAP:
        return UNBOUNDED
    if metric in LOSSES:
        return UNBOUNDED if difference else LOSS
    return DIFFERENCE if difference else SHARE


def _differences(
    arms: Mapping[tuple[FinetuneProtocol, str], ArmPredictions],
    by_seed: Mapping[tuple[FinetuneProtocol, str], Mapping[str, Array]],
    labels: Sequence[Array],
    groups: Array,
    question: StudyQuestion,
    ratio: float,
    gets_credit: Mapping[tuple[FinetuneProtocol, str], bool],
) -> tuple[PooledDifference, ...]:
    """Every challenger minus the reference; p-values are corrected over all of them, as in the comparison."""
    rule, keys = question.rule, [(protocol, arm) for protocol in question.protocols for arm in question.challengers]
    apart = {
        key: {name: own - by_seed[key[0], question.reference][name] for name, own in by_seed[key].items()}
        for key in keys
    }
    deciding = {key: _mean(apart[key][DECIDING], ratio, DIFFERENCE) for key in keys}
    gaps = {key: _mean(apart[key][DECIDING_GAP], ratio, UNBOUNDED) for key in keys}
    tests = holm_over_all(
        [accuracy_p_values(deciding[key], rule) | {"gap": gaps[key].p_value()} for key in keys], EXCLUSIVE
    )
    joint = _bootstrap(arms, keys, np.concatenate(labels), groups, question)
    found = []
    for key, its in zip(keys, tests, strict=True):
        interval = deciding[key].interval(rule.confidence)
        accuracy = EstimatedDifference.of_accuracy(interval, its)
        gap = EstimatedDifference(gaps[key].interval(rule.confidence), differs=its["gap"].holm)
        learned = Learned(gets_credit[key], gets_credit[key[0], question.reference])
        ours, theirs = (_pooled(arms[of], labels) for of in (key, (key[0], question.reference)))
        found.append(
            PooledDifference(
                arm=key[1],
                protocol=key[0],
                by_fold=_seed_means(apart[key]),
                mean={
                    name: _mean(values, ratio, _bounds(name, difference=True)).interval(rule.confidence)
                    for name, values in apart[key].items()
                },
                pooled={name: ours[name] - theirs[name] for name in ours},
                bootstrap=joint[key],
                plain=_mean(apart[key][DECIDING], 0.0, DIFFERENCE).interval(rule.confidence),
                tests=its,
                outcome=judge(accuracy, gap, len(labels) * len(question.seeds), rule, learned),
            )
        )
    return tuple(found)


def _bootstrap(
    arms: Mapping[tuple[FinetuneProtocol, str], ArmPredictions],
    keys: Sequence[tuple[FinetuneProtocol, str]],
    labels: Array,
    groups: Array,
    question: StudyQuestion,
) -> dict[tuple[FinetuneProtocol, str], Interval]:
    """Intervals of the paired difference in balanced accuracy over all lesions and over seeds."""
    design = make_design(groups, labels, question.resamples, np.random.default_rng(question.seed))

    def samples(key: tuple[FinetuneProtocol, str]) -> list[Sample]:
        return [design.apply(balanced_accuracy, labels, np.concatenate(p)) for p in zip(*arms[key].p, strict=True)]

    references = {protocol: samples((protocol, question.reference)) for protocol in {key[0] for key in keys}}
    return {
        key: estimate(
            [mine - its for mine, its in zip(samples(key), references[key[0]], strict=True)], design.strata, DIFFERENCE
        ).interval(question.rule.confidence)
        for key in keys
    }
