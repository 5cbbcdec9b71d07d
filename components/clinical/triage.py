"""Triage: each image goes to the level of severity with the lowest expected cost.

Letters: N images, K classes, L levels of severity, S seeds. Expected costs use probabilities as they are, so they
should be those after temperature scaling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.statistics.intervals import Interval
from components.statistics.resampled import LOSS, Resampled
from components.statistics.weighting import weighted_mean

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Triage:
    """What the decision of lowest expected cost gives, by severity."""

    confusion: tuple[tuple[float, ...], ...]
    """(L, L) mean counts over seeds; rows are the true level."""
    cost: Interval
    """An image."""
    cost_of_likeliest: Interval
    """When the most probable class decides."""
    cost_of_constants: Mapping[str, float]
    """When every image gets the same level."""
    under: Interval
    """Share decided too low, of the images whose level is not the lowest."""
    over: Interval
    """Share decided too high, of the images whose level is not the highest."""
    missed: Interval
    """Share of the most severe level that is decided the lowest."""
    images: Mapping[str, int]
    """`under`, `over`, `missed`: the test images that the share is of."""
    never: tuple[str, ...]
    """Levels that no seed decides for any image: a share of them is 0 because they are never decided."""


def level_of_classes(classes: Sequence[str], severity: Mapping[str, Sequence[str]]) -> Array:
    """(K,) the level of each class; `severity` maps levels, from least to most severe, to their classes."""
    place = {name: level for level, names in enumerate(severity.values()) for name in names}
    return np.array([place[name] for name in classes])


def level_probabilities(p: Array, levels: Array) -> Array:
    """Probabilities of classes (N, K) summed to those of levels (N, L)."""
    return np.asarray(p @ np.eye(levels.max() + 1)[levels])


def least_cost(p: Array, costs: Array) -> Array:
    """(N,) the level with the lowest expected cost, of equal ones the more severe; `p` (N, L), `costs` (L, L)."""
    expected = (p @ costs)[:, ::-1]  # (N, L) most severe decision first
    return np.asarray(costs.shape[1] - 1 - expected.argmin(1))


def triage(
    sample: Resampled,
    scaled: Sequence[Array],
    *,
    classes: Sequence[str],
    severity: Mapping[str, Sequence[str]],
    costs: Array,
) -> Triage:
    """Decide at the lowest expected cost.

    Args:
        sample: the test images and their resamples.
        scaled: (N, K) probabilities a seed, after temperature scaling.
        classes: in the order of the probabilities.
        severity: level -> classes, from least to most severe.
        costs: (L, L) of one image; rows are the true level, columns the decided one.
    """
    levels = level_of_classes(classes, severity)
    truth = levels[sample.labels]
    decided = np.stack([least_cost(level_probabilities(p, levels), costs) for p in scaled])  # (S, N)
    likeliest = np.stack([levels[p.argmax(1)] for p in scaled])
    counts = [np.bincount(truth * len(costs) + each, minlength=costs.size).reshape(costs.shape) for each in decided]
    top = costs.shape[0] - 1
    return Triage(
        confusion=tuple(tuple(row) for row in np.mean(counts, axis=0).tolist()),
        cost=sample.interval(weighted_mean(costs[truth, decided], sample.weights), LOSS),
        cost_of_likeliest=sample.interval(weighted_mean(costs[truth, likeliest], sample.weights), LOSS),
        cost_of_constants={name: float(costs[truth, level].mean()) for level, name in enumerate(severity)},
        under=sample.share(decided < truth, truth > 0),
        over=sample.share(decided > truth, truth < top),
        missed=sample.share(decided == 0, truth == top),
        images={
            "under": int((truth > 0).sum()),
            "over": int((truth < top).sum()),
            "missed": int((truth == top).sum()),
        },
        never=tuple(name for level, name in enumerate(severity) if not np.any(decided == level)),
    )
