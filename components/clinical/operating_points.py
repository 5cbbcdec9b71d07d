"""Operating points: thresholds chosen on val, and the rates that they give on test images.

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
"""False positive rates at which the ROC curves of several seeds are averaged."""


@dataclass(frozen=True)
class OperatingPoint:
    """The threshold at which val reaches `level` of `fixed`, and the rates that it gives on test."""

    fixed: str
    """`sensitivity` or `specificity`."""
    level: float
    thresholds: tuple[float, ...]
    """One a seed."""
    test: Mapping[str, Interval]
    """RATES; ppv and npv hold only for the test images' share of positives."""


@dataclass(frozen=True)
class OperatingPoints:
    """One binary task, such as malignant against benign, with its ROC curve and operating points."""

    subject: str
    """`malignant`, or a class."""
    positives: int
    """Test lesions."""
    auroc: Interval
    roc: tuple[tuple[float, float], ...]
    """(False positive rate, sensitivity); mean over seeds."""
    points: tuple[OperatingPoint, ...]


@dataclass(frozen=True)
class BinaryTask:
    """Scores and truth of one binary task on val and test; scores have a row a seed."""

    subject: str
    val_scores: Array  # (S, Nv)
    val_positive: Array  # (Nv,) bool
    scores: Array  # (S, N)
    positive: Array  # (N,) bool


def measure_operating_points(sample: Resampled, task: BinaryTask, levels: Sequence[float]) -> OperatingPoints:
    """Choose thresholds on val for each level of specificity and of sensitivity, and measure them on test."""
    targets, thresholds = choose_thresholds(task, levels)
    measured, trials = measure_rates(sample, task, thresholds), count_trials(sample, task, thresholds)
    points = tuple(
        OperatingPoint(
            *each,
            tuple(thresholds[:, p].tolist()),
            {n: sample.interval(measured[n][:, p], SHARE, trials[n][p]) for n in RATES},
        )
        for p, each in enumerate(targets)
    )
    positives = len(set(sample.groups[task.positive]))
    auroc = sample.interval(aurocs(sample, task), SHARE)
    return OperatingPoints(task.subject, positives, auroc, mean_roc(task), points)


def choose_thresholds(task: BinaryTask, levels: Sequence[float]) -> tuple[list[tuple[str, float]], Array]:
    """What val fixes, (rate, level), P of them, and the thresholds at which it does, (S, P)."""
    targets = [(fixed, level) for fixed in ("specificity", "sensitivity") for level in levels]
    chosen = [[threshold(scores, task.val_positive, *each) for each in targets] for scores in task.val_scores]
    return targets, np.array(chosen)


def measure_rates(sample: Resampled, task: BinaryTask, thresholds: Array) -> dict[str, Array]:
    """RATES by seed, point and resample, (S, P, C); NaN where val gave no threshold."""
    pairs = list(zip(task.scores, thresholds[:, :, None], strict=True))  # (N,) and (P, 1) a seed
    by_seed = [rates(scores >= chosen, task.positive, sample.weights) for scores, chosen in pairs]
    unknown = np.isnan(thresholds)[:, :, None]
    return {name: np.where(unknown, np.nan, np.stack([each[name] for each in by_seed])) for name in RATES}


def count_trials(sample: Resampled, task: BinaryTask, thresholds: Array) -> dict[str, list[int]]:
    """By rate and point: the lesions or patients that the rate is of; of several seeds the lowest number."""
    called = task.scores[:, None] >= thresholds[:, :, None]  # (S, P, N)
    points = range(thresholds.shape[1])
    own, others = sample.count_groups(task.positive), sample.count_groups(~task.positive)
    return {
        "sensitivity": [own for _ in points],
        "specificity": [others for _ in points],
        "ppv": [sample.count_groups(called[:, p]) for p in points],
        "npv": [sample.count_groups(~called[:, p]) for p in points],
    }


def threshold(scores: Array, positive: Array, fixed: str, level: float) -> float:
    """The threshold at which `level` of `fixed` is reached and the other rate is as high as possible.

    For specificity the lowest threshold with enough negatives below it, for sensitivity the highest one with enough
    positives at or above it.

    Args:
        scores: (N,).
        positive: (N,) bool.
        fixed: `specificity` or `sensitivity`.
        level: in (0, 1).

    Returns:
        The threshold; NaN where no image is of the kind that `fixed` counts.
    """
    own = np.sort(scores[positive if fixed == "sensitivity" else ~positive])
    enough = int(np.ceil(level * len(own) - 1e-9))  # 0.9 x 10 is 9, not 10
    if not len(own):
        return float("nan")
    if fixed == "sensitivity":
        return float(own[len(own) - enough]) if enough else float("inf")
    return float(np.nextafter(own[enough - 1], np.inf)) if enough else float("-inf")


def rates(called: Array, positive: Array, weights: Array) -> dict[str, Array]:
    """RATES of calls in every resample, (P, C) each; NaN where the denominator is empty.

    Args:
        called: (P, N) bool, True where the threshold calls an image positive.
        positive: (N,) bool.
        weights: (N, C).
    """
    calls, hits = called.astype(np.float32) @ weights, (called & positive).astype(np.float32) @ weights  # (P, C)
    own, everyone = positive.astype(np.float32) @ weights, weights.sum(0)  # (C,)
    others = everyone - own
    true_negatives = others - (calls - hits)
    return {
        "sensitivity": ratio(hits, own),
        "specificity": ratio(true_negatives, others),
        "ppv": ratio(hits, calls),
        "npv": ratio(true_negatives, everyone - calls),
    }


def aurocs(sample: Resampled, task: BinaryTask) -> Array:
    """Area under the ROC curve of each seed in every resample, (S, C)."""
    labels = (~task.positive).astype(int)  # positives are class 0, the only one that has scores
    return np.stack([macro_auroc(labels, scores[:, None], sample.weights) for scores in task.scores])


def mean_roc(task: BinaryTask) -> tuple[tuple[float, float], ...]:
    """Sensitivity by false positive rate, averaged over seeds (vertical averaging; Fawcett 2006, section 9).

    Empty where all images are of one kind.
    """
    if task.positive.all() or not task.positive.any():
        return ()
    curves = [roc_curve(task.positive, scores)[:2] for scores in task.scores]
    heights = np.mean([_sensitivity_at_grid(*curve) for curve in curves], axis=0)
    return tuple(zip(GRID.tolist(), heights.tolist(), strict=True))


def _sensitivity_at_grid(false_positives: Array, sensitivity: Array) -> Array:
    """The curve's height at GRID; where it is vertical, its upper end."""
    last = len(false_positives) - 1 - np.unique(false_positives[::-1], return_index=True)[1]
    heights = np.interp(GRID, false_positives[last], sensitivity[last])
    heights[0] = sensitivity[false_positives == 0].max()
    return np.asarray(heights)
