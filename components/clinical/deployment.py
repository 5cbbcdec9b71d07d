"""Deployment: what the same models give where the classes are as frequent as in the clinic that would use them.

Assumption (label shift; Saerens et al. 2002): images of a class look the same in both places, only the frequencies of
the classes differ. Then Bayes' rule moves the probabilities to the clinic's frequencies, and each test image counts by
frequency in the clinic divided by frequency in test, so that test stands for the clinic.
Letters: N images, K classes, P operating points, S seeds, C columns of resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from components.base.errors import DataError
from components.clinical.calibration import equal_width
from components.clinical.calibration_line import CalibrationLine, measure_line
from components.clinical.decision_curves import DecisionCurve, decision_curve
from components.clinical.operating_points import BinaryTask, choose_thresholds, measure_rates
from components.statistics.intervals import Interval, student_interval
from components.statistics.metrics.log_loss import log_loss
from components.statistics.prior import change_prior
from components.statistics.resampled import LOSS, SHARE, Resampled
from components.statistics.weighting import ratio, weighted_count, weighted_mean

Array = npt.NDArray[Any]

REFERRED = "referred"
"""Share of images that a threshold calls malignant."""


@dataclass(frozen=True)
class RatesAt:
    """One operating point at one set of class frequencies."""

    fixed: str
    """`sensitivity` or `specificity`, which val fixed."""
    level: float
    rates: Mapping[str, Interval]
    """sensitivity, specificity, ppv, npv and REFERRED."""


@dataclass(frozen=True)
class AtFrequencies:
    """One model at one set of class frequencies."""

    malignant: float
    """Share of malignant images."""
    points: tuple[RatesAt, ...]
    benefit: DecisionCurve
    line: CalibrationLine
    """Of the probability of malignancy for these frequencies."""
    calibration_error: Interval
    """Of the probability of malignancy: mean distance from the observed share in bins of equal width."""
    log_loss: Interval


@dataclass(frozen=True)
class DeploymentAssessment:
    """One model in the study and in deployment."""

    study: AtFrequencies
    """Test images as they are, probabilities for the class frequencies of train."""
    deployed: AtFrequencies
    """Test images weighted and probabilities moved to the frequencies of the deployment."""


def deployment_prior(
    setting: float | Mapping[str, float], classes: Sequence[str], malignant: Array, frequencies: Array
) -> Array:
    """(K,) class frequencies of the deployment.

    Args:
        setting: the share of malignant images, which keeps the ratios that malignant classes, and benign classes, have
            in train; or the share of each class.
        classes: in the order of the result.
        malignant: (K,) bool.
        frequencies: (K,) of the train images.

    Raises:
        DataError: where a class is expected in the clinic that no train image shows.
    """
    if isinstance(setting, Mapping):
        wanted = np.array([setting[name] for name in classes])
        unseen = [name for name, share in zip(classes, frequencies, strict=True) if not share]
    else:
        within = np.where(malignant, frequencies[malignant].sum(), frequencies[~malignant].sum())
        wanted = ratio(frequencies, within) * np.where(malignant, setting, 1 - setting)
        kinds = {"malignant": frequencies[malignant], "benign": frequencies[~malignant]}
        unseen = [name for name, shares in kinds.items() if not shares.sum()]
    if unseen:
        raise DataError(
            f"clinical.deployment {setting}: no train image is {' or '.join(unseen)}, expected train images of what "
            "the clinic sees; set clinical.deployment: null (params.yaml), or add images"
        )
    return np.asarray(wanted / wanted.sum())


def reweight(sample: Resampled, frequencies: Array) -> Resampled:
    """The same resamples, in which classes count by `frequencies` (K,) and images of a class equally.

    A class that a column lacks is left out there, and the others keep their ratios.
    """
    columns = sample.weights.astype(float)
    counts = weighted_count(np.eye(len(frequencies), dtype=bool)[sample.labels], sample.weights)  # (K, C)
    factors = np.where(counts > 0, frequencies[:, None] / np.maximum(counts, 1), 0)
    weighted = columns * factors[sample.labels]
    scaled = weighted * (columns.sum(0) / weighted.sum(0))
    return replace(sample, design=replace(sample.design, columns=scaled))


def assess_deployment(
    sample: Resampled,
    task: BinaryTask,
    scaled: Sequence[Array],
    *,
    malignant: Array,
    trained: Array,
    deployed: Array,
    levels: Sequence[float],
    net_benefit_at: Sequence[float],
    bins: int,
) -> DeploymentAssessment:
    """One arm's seeds at the study's class frequencies and at those of the deployment.

    Args:
        sample: the test images and their resamples.
        task: malignant against benign by restored probabilities: they choose the calls, the same in both places.
        scaled: (N, K) restored and scaled probabilities a seed.
        malignant: (K,) bool.
        trained: (K,) class frequencies that `scaled` is for.
        deployed: (K,) class frequencies of the deployment.
        levels: of specificity and sensitivity, for which val chooses thresholds.
        net_benefit_at: probabilities at which net benefit is computed.
        bins: of the calibration error.
    """
    targets, chosen = choose_thresholds(task, levels)
    calls = zip(task.scores, chosen, strict=True)
    called = np.stack([scores >= thresholds[:, None] for scores, thresholds in calls])  # (S, P, N)

    def at(images: Resampled, p: Sequence[Array]) -> AtFrequencies:
        risks = np.stack([each[:, malignant].sum(1) for each in p])  # (S, N)
        found = measure_rates(images, task, chosen)
        found[REFERRED] = np.stack([weighted_mean(each, images.weights) for each in called])  # (S, P, C)
        points = tuple(
            RatesAt(*target, {name: images.interval(each[:, place], SHARE) for name, each in found.items()})
            for place, target in enumerate(targets)
        )
        errors = np.array([_calibration_error(risk, task.positive, images.weights[:, 0], bins) for risk in risks])
        losses = np.stack([log_loss(images.labels, each, images.weights) for each in p])
        return AtFrequencies(
            malignant=float(weighted_mean(task.positive, images.weights[:, :1])[0]),
            points=points,
            benefit=decision_curve(images, replace(task, scores=risks), net_benefit_at),
            line=measure_line(list(risks), task.positive, images),
            calibration_error=student_interval(errors, images.confidence).inside(SHARE),
            log_loss=images.interval(losses, LOSS),
        )

    return DeploymentAssessment(
        study=at(sample, scaled),
        deployed=at(reweight(sample, deployed), [change_prior(each, trained, deployed) for each in scaled]),
    )


def _calibration_error(predicted: Array, observed: Array, weights: Array, bins: int) -> float:
    """As `calibration.calibration_error` in bins of equal width, with weights (N,)."""
    distances = np.bincount(equal_width(predicted, bins), weights=weights * (observed - predicted))
    return float(np.abs(distances).sum() / weights.sum())
