"""Where to draw the line between yes and no: thresholds that val chose, and what they give on test images.

Letters: N images, P thresholds, S seeds, C columns of resamples. A score at or above its threshold is called positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_curve

from components.statistics.intervals import Interval
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.resampled import SHARE, Resampled
from components.statistics.weighting import ratio

Array = npt.NDArray[Any]

RATES = ("sensitivity", "specificity", "ppv", "npv")
GRID = np.linspace(0, 1, 101)
"""Shares of false alarms at which ROC curves of several seeds are averaged."""


@dataclass(frozen=True)
class Point:
    """The threshold at which val reaches `level` of `fixed`, and the rates that it gives on test."""

    fixed: str  # sensitivity or specificity
    level: float
    thresholds: tuple[float, ...]  # one a seed
    test: Mapping[str, Interval]  # RATES; ppv and npv hold for the test images' share of positives alone


@dataclass(frozen=True)
class Operating:
    """One question, such as malignant or benign, answered with a line."""

    subject: str  # `malignant`, or a class
    positives: int  # test lesions
    auroc: Interval
    roc: tuple[tuple[float, float], ...]  # false alarms, sensitivity; mean over seeds
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Question:
    """Scores of one question and the truth, for val and test; scores have a row a seed."""

    subject: str
    val_scores: Array  # (S, Nv)
    val_positive: Array  # (Nv,)
    scores: Array  # (S, N)
    positive: Array  # (N,)


def operate(sample: Resampled, question: Question, levels: Sequence[float]) -> Operating:
    """Each level of specificity and of sensitivity that val can fix, measured on test."""
    lines = [(fixed, level) for fixed in ("specificity", "sensitivity") for level in levels]
    thresholds = np.array([[threshold(s, question.val_positive, *line) for line in lines] for s in question.val_scores])
    measured = _measured(sample, question, thresholds)
    points = tuple(
        Point(*line, tuple(thresholds[:, p].tolist()), {n: sample.interval(measured[n][:, p], SHARE) for n in RATES})
        for p, line in enumerate(lines)
    )
    positives = len(set(sample.groups[question.positive]))
    return Operating(question.subject, positives, _auroc(sample, question), mean_roc(question), points)


def _measured(sample: Resampled, question: Question, thresholds: Array) -> dict[str, Array]:
    """RATES by seed, point and resample, (S, P, C); NaN where val knew no threshold."""
    pairs = list(zip(question.scores, thresholds[:, :, None], strict=True))  # (N,) and (P, 1) a seed
    by_seed = [rates(scores >= chosen, question.positive, sample.weights) for scores, chosen in pairs]
    unknown = np.isnan(thresholds)[:, :, None]
    return {name: np.where(unknown, np.nan, np.stack([each[name] for each in by_seed])) for name in RATES}


def threshold(scores: Array, positive: Array, fixed: str, level: float) -> float:
    """The line at which `level` of `fixed` is reached and the other rate is as high as it can be; NaN without any.

    For specificity the lowest line that leaves enough negatives below it, for sensitivity the highest one that
    has enough positives at or above it.
    """
    own = np.sort(scores[positive if fixed == "sensitivity" else ~positive])
    enough = int(np.ceil(level * len(own) - 1e-9))  # 0.9 x 10 is 9, not 10
    if not len(own):
        return float("nan")
    if fixed == "sensitivity":
        return float(own[len(own) - enough]) if enough else float("inf")
    return float(np.nextafter(own[enough - 1], np.inf)) if enough else float("-inf")


def rates(called: Array, positive: Array, weights: Array) -> dict[str, Array]:
    """RATES of calls (P, N) in every resample, (P, C); NaN where nothing was there to be counted."""
    calls, hits = called.astype(np.float32) @ weights, (called & positive).astype(np.float32) @ weights  # (P, C)
    own, everyone = positive.astype(np.float32) @ weights, weights.sum(0)  # (C,)
    others = everyone - own
    spared = others - (calls - hits)
    return {
        "sensitivity": ratio(hits, own),
        "specificity": ratio(spared, others),
        "ppv": ratio(hits, calls),
        "npv": ratio(spared, everyone - calls),
    }


def _auroc(sample: Resampled, question: Question) -> Interval:
    return sample.interval(aurocs(sample, question), SHARE)


def aurocs(sample: Resampled, question: Question) -> Array:
    """Area under the ROC curve of each seed in every resample, (S, C)."""
    labels = (~question.positive).astype(int)  # positives are class 0, the only one that has scores
    return np.stack([macro_auroc(labels, s[:, None], sample.weights) for s in question.scores])


def mean_roc(question: Question) -> tuple[tuple[float, float], ...]:
    """Sensitivity by share of false alarms, averaged over seeds (vertical averaging; Fawcett 2006, section 9)."""
    if question.positive.all() or not question.positive.any():
        return ()
    curves = [roc_curve(question.positive, scores)[:2] for scores in question.scores]
    heights = np.mean([_steps(*curve) for curve in curves], axis=0)
    return tuple(zip(GRID.tolist(), heights.tolist(), strict=True))


def _steps(alarms: Array, sensitivity: Array) -> Array:
    """The curve's height at GRID; where it jumps, the top."""
    last = len(alarms) - 1 - np.unique(alarms[::-1], return_index=True)[1]
    heights = np.interp(GRID, alarms[last], sensitivity[last])
    heights[0] = sensitivity[alarms == 0].max()
    return np.asarray(heights)
