"""From a classifier's probabilities to an answer: calibrated probabilities, decision, set of classes, abstention.

Each number uses the probabilities that the study measured it with (docs/methods.md): the predicted class and the
confidence those as trained, the threshold of malignancy and the set of classes those with the class frequencies of the
train images restored, the probabilities that are shown those after the temperature, for the clinic's frequencies where
they are stated. Letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.clinical.calibration import scale
from components.deployment.manifest import Manifest
from components.statistics.prior import change_prior

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Answers:
    """The answers for N images."""

    predicted: Array  # (N,) class index: the highest probability as trained, all classes equally important
    probabilities: Array  # (N, K) calibrated; for the clinic's frequencies where they are stated, else train's
    calibrated: Array  # (N, K) calibrated; for train's class frequencies, those of the study's own test images
    malignancy: Array | None  # (N,) probability of the malignant classes, of `probabilities`
    malignant: Array | None  # (N,) bool: the score is at the operating point's threshold or above
    sets: Array  # (N, K) bool: classes that cannot be excluded
    confidence: Array  # (N,) the highest probability as trained
    sure: Array  # (N,) bool: confident enough to be answered


def decide(p: Array, manifest: Manifest) -> Answers:
    """The answers for probabilities (N, K) as trained."""
    classes, frequencies = manifest.classes, manifest.frequencies
    learned, train = (_vector(each, classes) for each in (frequencies.learned, frequencies.train))
    restored = change_prior(p, learned, train)
    calibrated = shown = scale(restored, manifest.temperature)
    if frequencies.clinic is not None:
        shown = change_prior(shown, train, _vector(frequencies.clinic, classes))
    positive = np.isin(np.array(classes), np.array(manifest.malignant, dtype=str))  # (K,)
    limits = np.array([np.inf if (limit := manifest.conformal.limits[name]) is None else limit for name in classes])
    return Answers(
        predicted=p.argmax(1),
        probabilities=shown,
        calibrated=calibrated,
        malignancy=shown[:, positive].sum(1) if manifest.malignant else None,
        malignant=None
        if manifest.point is None
        else malignancy_score(restored, positive) >= manifest.points[manifest.point].threshold,
        sets=1 - restored <= limits,
        confidence=p.max(1),
        sure=p.max(1) >= manifest.abstention.threshold,
    )


def malignancy_score(restored: Array, malignant: Array) -> Array:
    """(N,) the score that thresholds are compared with, of restored probabilities (N, K) and malignant (K,) bool."""
    return np.asarray(restored[:, malignant].sum(1))


def _vector(shares: Mapping[str, float], classes: Sequence[str]) -> Array:
    return np.array([shares[name] for name in classes])
