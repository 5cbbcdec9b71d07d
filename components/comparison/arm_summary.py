"""One arm under one protocol: learning curves, gaps and test metrics over its seeds. S seeds, K classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.base.run_id import FinetuneProtocol, model_name
from components.comparison.against_null import RESTORED
from components.comparison.measurements import RESAMPLED, SENSITIVITY, RunMeasurements, val_balanced_accuracy
from components.comparison.overfitting_gap import (
    DECIDING_GAP,
    DECIDING_PLACE,
    GAPS,
    PLACES,
    epoch_values,
    gap_curve,
    onset,
)
from components.comparison.resampled_gap import ResampledGaps, RunGaps
from components.statistics.bootstrap import Design
from components.statistics.intervals import (
    Estimate,
    Interval,
    VarianceComponents,
    estimate,
    relative_change,
    student_interval,
)
from components.statistics.question import StudyQuestion
from components.statistics.runs import Run

TRENDS = ("val/loss", "train/accuracy", "val/accuracy")
"""Columns of a curve that the paper's table shows."""


@dataclass(frozen=True)
class Trend:
    """A column of the curve: mean over seeds at the first epoch, interval over seeds at the last."""

    first: float
    last: Interval
    change: float
    """Of the means, relative to the first; NaN where that is zero."""


@dataclass(frozen=True)
class ArmSummary:
    """One arm under one protocol: the columns of the paper's table, and the test metrics."""

    arm: str
    protocol: FinetuneProtocol
    trends: Mapping[str, Trend]
    """By name of TRENDS."""
    gaps: Mapping[str, Interval]
    """GAPS at the last epoch that all runs of the protocol have."""
    gaps_last: Mapping[str, Interval]
    """GAPS at each run's own last epoch."""
    gaps_best: Mapping[str, Interval]
    """GAPS at the best epoch, whose model is kept."""
    gap_areas: Mapping[str, Interval]
    """Over the epochs that all runs of the protocol have."""
    onsets: tuple[int | None, ...]
    """A seed: the epoch, from 1, from which the gap in loss stays above compare.onset."""
    test: Mapping[str, Interval]
    """RESAMPLED, RESTORED and `sensitivity.CLASS`: over seeds and lesions; `ece`: over seeds."""
    sources: Mapping[str, VarianceComponents]
    """Of RESAMPLED and RESTORED."""
    val_balanced_accuracy: Mapping[str, float]
    """By run."""
    kept_val_loss: Mapping[str, float]
    """Val loss at the best epoch, by run, nats."""
    confusion: tuple[tuple[float, ...], ...]
    """(K, K) mean counts over seeds; rows are the true class."""

    @property
    def name(self) -> str:
        """`ARM-PROTOCOL`."""
        return model_name(self.arm, self.protocol)

    @property
    def val(self) -> float:
        """Mean balanced accuracy on val."""
        return float(np.mean(list(self.val_balanced_accuracy.values())))


def summarise_arm(
    runs: Sequence[Run],
    measured: Sequence[RunMeasurements],
    design: Design,
    question: StudyQuestion,
    *,
    groups: Mapping[str, int],
    gaps: Sequence[RunGaps],
    resampled_gaps: ResampledGaps,
    onset_threshold: float,
) -> ArmSummary:
    """All numbers of one arm under one protocol.

    Args:
        runs: one a seed.
        measured: of the same runs, in the same order.
        design: the resamples behind `measured`.
        question: gives the confidence and the classes.
        groups: test lesions (or patients) with an image of each class.
        gaps: of the same runs, in the same order.
        resampled_gaps: the resamples behind `gaps`.
        onset_threshold: nats; a gap in loss above it counts as overfitting.
    """
    confidence = question.rule.confidence
    trials = {SENSITIVITY + name: count for name, count in groups.items()}
    found = {name: estimate_metric(measured, name, design, trials.get(name)) for name in measured[0].samples}
    test = {name: each.interval(confidence) for name, each in found.items()}
    test["ece"] = student_interval(np.array([each.ece for each in measured]), confidence)
    by_place = {
        place: {name: resampled_gaps.interval([each[place][name] for each in gaps]) for name in GAPS}
        for place in PLACES
    }
    return ArmSummary(
        arm=runs[0].arm,
        protocol=runs[0].protocol,
        trends={name: _trend(runs, name, confidence) for name in TRENDS},
        gaps=by_place[DECIDING_PLACE],
        gaps_last=by_place["last"],
        gaps_best=by_place["best"],
        gap_areas=by_place["area"],
        onsets=tuple(onset(gap_curve(run, DECIDING_GAP), onset_threshold) for run in runs),
        test=test,
        sources={name: found[name].sources for name in (*RESAMPLED, RESTORED)},
        val_balanced_accuracy={run.name: val_balanced_accuracy(run, question.classes) for run in runs},
        kept_val_loss=dict(
            zip([run.name for run in runs], epoch_values(runs, "best", "val/loss").tolist(), strict=True)
        ),
        confusion=tuple(tuple(row) for row in np.mean([each.confusion for each in measured], axis=0).tolist()),
    )


def estimate_metric(
    measured: Sequence[RunMeasurements], name: str, design: Design, trials: int | None = None
) -> Estimate:
    """A metric's mean over seeds, whose intervals stay inside its range; `trials`: groups that a share is of."""
    bounds = (0.0, np.inf) if name in ("log_loss", RESTORED) else (0.0, 1.0)
    return estimate([each.samples[name] for each in measured], design.strata, bounds, trials)


def _trend(runs: Sequence[Run], name: str, confidence: float) -> Trend:
    first = float(epoch_values(runs, "first", name).mean())
    last = student_interval(epoch_values(runs, "last", name), confidence)
    return Trend(first, last, relative_change(first, last.mean))
