"""A candidate and the champion on the same test images: what was measured of both, paired by lesion.

Letters: N images, K classes, C columns of `bootstrap.Design`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from components.deployment.decisions import decide
from components.deployment.manifest import Manifest
from components.statistics.intervals import Interval
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.log_loss import log_loss
from components.statistics.resampled import ANY, DIFFERENCE, LOSS, SHARE, Resampled
from components.statistics.weighting import ratio, weighted_count

Array = npt.NDArray[Any]

ACCURACY, SPECIFICITY, LOG_LOSS = "balanced accuracy", "specificity for malignancy", "log loss"


def sensitivity_of(name: str) -> str:
    """The name of the measure: share of a malignant class's images that are called malignant."""
    return f"sensitivity for {name}"


@dataclass(frozen=True)
class Measure:
    """One number of both models with intervals over lesions."""

    candidate: Interval
    champion: Interval | None
    """None where there is no champion."""
    difference: Interval | None
    """Candidate minus champion, paired by lesion."""


@dataclass(frozen=True)
class Evidence:
    """All that the gates judge."""

    measures: Mapping[str, Measure]
    lesions: Mapping[str, int]
    """Test lesions (or patients) of each class that neither model has seen."""
    left_out: int
    """Test lesions that one of the models was trained on."""
    gap: float | None
    """Overfitting gap of the candidate, nats; None where it is not recorded."""
    data_checks: Mapping[str, bool]
    """What the acceptance of the data set measured -> whether it passed; empty where there is no record."""
    recommended: bool
    recommendation: str


def measure(
    resampled: Resampled, candidate: tuple[Array, Manifest], champion: tuple[Array, Manifest] | None
) -> dict[str, Measure]:
    """The measures of both models.

    Balanced accuracy uses the class with the highest probability as trained, log loss the calibrated probabilities for
    the class frequencies of the train images, sensitivity and specificity the decision at the operating point.

    Args:
        resampled: labels and groups of the N test images, with their resamples.
        candidate: probabilities (N, K) as trained, and the manifest, of the same classes.
        champion: likewise; None where there is none.
    """
    found = {}
    for name, bounds, value in _values(resampled, candidate[1]):
        own = value(*candidate)
        other = None if champion is None else value(*champion)
        found[name] = Measure(
            resampled.interval(own[None], bounds),
            None if other is None else resampled.interval(other[None], bounds),
            None if other is None else resampled.interval((own - other)[None], ANY if bounds == LOSS else DIFFERENCE),
        )
    return found


_Value = Callable[[Array, Manifest], Array]


def _values(resampled: Resampled, manifest: Manifest) -> list[tuple[str, tuple[float, float], _Value]]:
    """Name, bounds and function of each measure: probabilities and manifest to its value in every column, (C,)."""
    labels, weights = resampled.labels, resampled.weights
    found: list[tuple[str, tuple[float, float], _Value]] = [
        (ACCURACY, SHARE, lambda p, _: balanced_accuracy(labels, p, weights)),
        (LOG_LOSS, LOSS, lambda p, each: log_loss(labels, calibrated(p, each), weights)),
    ]
    malignant = [place for place, name in enumerate(manifest.classes) if name in manifest.malignant]
    for place in malignant:
        found.append((sensitivity_of(manifest.classes[place]), SHARE, partial(_share_called, labels == place, weights)))
    if malignant:
        benign = ~np.isin(labels, malignant)
        found.append((SPECIFICITY, SHARE, lambda p, each: _share(~called(p, each), benign, weights)))
    return found


def calibrated(p: Array, manifest: Manifest) -> Array:
    """(N, K) probabilities for the class frequencies of the train images, which are those of the test images, too."""
    frequencies = manifest.frequencies.model_copy(update={"clinic": None})
    return decide(p, manifest.model_copy(update={"frequencies": frequencies})).probabilities


def called(p: Array, manifest: Manifest) -> Array:
    """(N,) whether an image is called malignant; without an operating point, whether the predicted class is."""
    answers = decide(p, manifest)
    if answers.malignant is not None:
        return answers.malignant
    return np.isin(np.array(manifest.classes)[answers.predicted], manifest.malignant)


def _share_called(among: Array, weights: Array, p: Array, manifest: Manifest) -> Array:
    return _share(called(p, manifest), among, weights)


def _share(marked: Array, among: Array, weights: Array) -> Array:
    """(C,) share of marked images among some; NaN where a column has none of these."""
    both = weighted_count((marked & among)[:, None], weights)
    return np.asarray(ratio(both, weighted_count(among[:, None], weights))[0])


def count_lesions(labels: Array, groups: Array, classes: tuple[str, ...]) -> dict[str, int]:
    """Groups of each class that have an image of it."""
    return {name: len(np.unique(groups[labels == place])) for place, name in enumerate(classes)}
