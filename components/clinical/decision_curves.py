"""Whether acting on the model does more good than harm: net benefit, and triage at the least expected cost.

Letters: N images, L levels of severity, T thresholds, S seeds, C columns of resamples. Probabilities are
taken at their word here, so those after temperature scaling come in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.clinical.operating_points import Question
from components.statistics.intervals import Interval
from components.statistics.resampled import ANY, LOSS, SHARE, Resampled
from components.statistics.weighting import ratio, weighted_mean

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Curve:
    """Net benefit an image by threshold probability; treating nobody has zero."""

    thresholds: tuple[float, ...]
    model: tuple[Interval, ...]
    all: tuple[float, ...]  # of treating everybody
    over_both: tuple[Interval, ...]  # the model minus the better of all and nobody, in the same resample


@dataclass(frozen=True)
class Triage:
    """What the decision of least expected cost does, by severity."""

    confusion: tuple[tuple[float, ...], ...]  # (L, L) mean counts over seeds; rows are the truth
    cost: Interval  # an image
    cost_of_likeliest: Interval  # when the likeliest class decides
    cost_of_constants: Mapping[str, float]  # when every image gets the same level
    under: Interval  # share of images that could be, decided too low
    over: Interval  # share of images that could be, decided too high
    missed: Interval  # share of the most severe level that is decided the lowest


def net_benefit(scores: Array, positive: Array, weights: Array, thresholds: Array) -> Array:
    """True positives less false ones at the threshold's odds, an image, (T, C) (Vickers & Elkin 2006)."""
    called = scores >= thresholds[:, None]  # (T, N)
    odds = (thresholds / (1 - thresholds))[:, None]
    harm: Array = odds * weighted_mean(called & ~positive, weights)
    return weighted_mean(called & positive, weights) - harm


def benefit_of_all(positive: Array, weights: Array, thresholds: Array) -> Array:
    """Net benefit when everybody is treated, (T, C)."""
    return net_benefit(np.ones(len(positive)), positive, weights, thresholds)


def decision_curve(sample: Resampled, question: Question, thresholds: Sequence[float]) -> Curve:
    """`question.scores` are probabilities; the threshold is the probability at which a person would act."""
    at = np.array(thresholds)
    model = np.stack([net_benefit(s, question.positive, sample.weights, at) for s in question.scores])  # (S, T, C)
    everybody = benefit_of_all(question.positive, sample.weights, at)  # (T, C)
    lead = model - np.maximum(everybody, 0)
    return Curve(
        tuple(thresholds),
        sample.intervals(model, ANY),
        tuple(everybody[:, 0].tolist()),
        sample.intervals(lead, ANY),
    )


# --- triage


def level_of_classes(classes: Sequence[str], severity: Mapping[str, Sequence[str]]) -> Array:
    """(K,) the level of each class; `severity` names levels from least to most severe with their classes."""
    place = {name: level for level, names in enumerate(severity.values()) for name in names}
    return np.array([place[name] for name in classes])


def level_probabilities(p: Array, levels: Array) -> Array:
    """(N, K) class probabilities to (N, L)."""
    return np.asarray(p @ np.eye(levels.max() + 1)[levels])


def least_cost(p: Array, costs: Array) -> Array:
    """(N,) the level whose expected cost is least, of equal ones the more severe; `p` (N, L), `costs` (L, L)."""
    expected = (p @ costs)[:, ::-1]  # (N, L) most severe decision first
    return np.asarray(costs.shape[1] - 1 - expected.argmin(1))


def triage(
    sample: Resampled,
    scaled: Sequence[Array],
    classes: Sequence[str],
    severity: Mapping[str, Sequence[str]],
    costs: Array,
) -> Triage:
    """Decide at the least expected cost; `costs[truth, decision]` is what one image costs."""
    levels = level_of_classes(classes, severity)
    truth = levels[sample.labels]
    decided = np.stack([least_cost(level_probabilities(p, levels), costs) for p in scaled])  # (S, N)
    likeliest = np.stack([levels[p.argmax(1)] for p in scaled])
    counts = [np.bincount(truth * len(costs) + each, minlength=costs.size).reshape(costs.shape) for each in decided]
    top = costs.shape[0] - 1
    return Triage(
        tuple(tuple(row) for row in np.mean(counts, axis=0).tolist()),
        sample.interval(weighted_mean(costs[truth, decided], sample.weights), LOSS),
        sample.interval(weighted_mean(costs[truth, likeliest], sample.weights), LOSS),
        {name: float(costs[truth, level].mean()) for level, name in enumerate(severity)},
        _share(sample, decided < truth, truth > 0),
        _share(sample, decided > truth, truth < top),
        _share(sample, decided == 0, truth == top),
    )


def _share(sample: Resampled, found: Array, among: Array) -> Interval:
    """Share of the images `among` (N,) in which it is `found` (S, N)."""
    hits = (found & among).astype(np.float32) @ sample.weights
    return sample.interval(ratio(hits, among.astype(np.float32) @ sample.weights), SHARE)
