"""Decision curves: the net benefit of acting on the model, compared with treating all and treating none.

Letters: N images, T thresholds, S seeds, C columns of resamples. Net benefit uses probabilities as they are, so they
should be those after temperature scaling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.clinical.operating_points import BinaryTask
from components.statistics.intervals import Interval
from components.statistics.resampled import ANY, Resampled
from components.statistics.weighting import weighted_mean

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit an image by threshold probability; treating none has zero."""

    thresholds: tuple[float, ...]
    model: tuple[Interval, ...]
    all: tuple[float, ...]
    """Of treating all."""
    over_both: tuple[Interval, ...]
    """The model minus the better of treating all and none, in the same resample."""


def net_benefit(scores: Array, positive: Array, weights: Array, thresholds: Array) -> Array:
    """True positives less false positives at the threshold's odds, an image, (T, C) (Vickers & Elkin 2006).

    Args:
        scores: (N,) probabilities of the positive class.
        positive: (N,) bool.
        weights: (N, C).
        thresholds: (T,) in (0, 1), probabilities at which one would act.
    """
    called = scores >= thresholds[:, None]  # (T, N)
    odds = (thresholds / (1 - thresholds))[:, None]
    harm: Array = odds * weighted_mean(called & ~positive, weights)
    return weighted_mean(called & positive, weights) - harm


def benefit_of_all(positive: Array, weights: Array, thresholds: Array) -> Array:
    """Net benefit of treating all, (T, C)."""
    return net_benefit(np.ones(len(positive)), positive, weights, thresholds)


def decision_curve(sample: Resampled, task: BinaryTask, thresholds: Sequence[float]) -> DecisionCurve:
    """Net benefit at each threshold probability; the scores of `task` are probabilities."""
    at = np.array(thresholds)
    model = np.stack([net_benefit(s, task.positive, sample.weights, at) for s in task.scores])  # (S, T, C)
    treat_all = benefit_of_all(task.positive, sample.weights, at)  # (T, C)
    advantage = model - np.maximum(treat_all, 0)
    return DecisionCurve(
        tuple(thresholds),
        sample.intervals(model, ANY),
        tuple(treat_all[:, 0].tolist()),
        sample.intervals(advantage, ANY),
    )
