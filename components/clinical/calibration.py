"""Calibration: whether predicted probabilities agree with observed frequencies, as trained and for clinical use.

Calibration errors in several binnings, Brier's score and its decomposition, one temperature fitted on val.
Letters: N images, K classes, B bins, S seeds, C columns of resamples. `predicted` (N,) is the probability of an event,
`observed` (N,) bool, True where the event happened: the predicted class is right, or the lesion is malignant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from components.clinical.calibration_line import CalibrationLine, measure_line
from components.clinical.debiased_error import debiased_squared_errors
from components.statistics.intervals import Interval, student_interval
from components.statistics.metrics.log_loss import image_losses, log_loss, log_probabilities
from components.statistics.resampled import DIFFERENCE, LOSS, SHARE, Resampled
from components.statistics.weighting import ratio, weighted_mean

Array = npt.NDArray[Any]

TEMPERATURES = (0.05, 20.0)
"""Range of the fit; a temperature at one end means that val does not determine it."""

CURVE_BINS = 10
"""Points of a reliability curve, each of equally many images."""

BRIER_RANGE = (0.0, 2.0)
"""Bounds of the score summed over classes."""


@dataclass(frozen=True)
class BrierParts:
    """Decomposition of Brier's score (Murphy 1973), summed over classes; the parts add up to the score exactly.

    `within` is what binning hides: the variance of the probabilities inside a bin, less twice their covariance with
    the observation (Stephenson, Coelho & Jolliffe 2008, eq. 7). With one probability a bin it is zero.
    """

    reliability: float
    """Squared distance of predicted from observed frequency: lower is better."""
    resolution: float
    """Squared distance of a bin's observed frequency from the overall one: higher is better."""
    uncertainty: float
    """Of the images, independent of the model."""
    within: float

    @property
    def brier(self) -> float:
        """The score that the parts add up to."""
        return self.reliability - self.resolution + self.uncertainty + self.within


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability curve, over all seeds."""

    predicted: float
    """Mean probability."""
    observed: Interval
    """Frequency of the event, over lesions."""
    images: int
    """A seed."""


@dataclass(frozen=True)
class CalibrationScores:
    """One state of a model's probabilities on test images: as trained, or after temperature scaling."""

    log_loss: Interval
    brier: Interval
    parts: BrierParts
    """Means over seeds."""
    errors: Mapping[str, Interval]
    """Of the predicted class's probability.

    `width`, `mass`: over seeds alone. `squared`: the debiased squared error, and `overconfidence`: the mean probability
    minus the share of right answers; both are zero on average for a perfect model, may be below zero, and have
    intervals over seeds and lesions.
    """
    curve: tuple[ReliabilityBin, ...]
    """Of the predicted class's probability."""
    malignant: tuple[ReliabilityBin, ...]
    """Of the probability of malignancy; empty where no class is malignant."""
    line: CalibrationLine | None
    """Of the probability of malignancy; None where no class is malignant."""


@dataclass(frozen=True)
class Calibration:
    """As trained, with the class frequencies restored, and then scaled with a temperature fitted on val."""

    temperatures: tuple[float, ...]
    """One a seed, fitted to the restored probabilities."""
    before: CalibrationScores
    """As trained: balanced classes, where training weighted or drew them so."""
    restored: CalibrationScores
    """With the class frequencies of the train images."""
    after: CalibrationScores
    """Restored and scaled: the probabilities that all clinical numbers use."""
    by_class: Mapping[str, CalibrationLine]
    """Each class that test has, against the rest, for clinical use."""


def calibrate(
    sample: Resampled,
    free: Resampled,
    test: Sequence[Array],
    restored: Sequence[Array],
    scaled: Sequence[Array],
    *,
    temperatures: Array,
    classes: Sequence[str],
    malignant: Array,
    bins: int,
) -> Calibration:
    """Calibration of one arm's seeds in three states.

    Args:
        sample: the test images and their resamples.
        free: the same images, resampled without strata: whether an answer is right may follow from the class alone,
            and with the classes' counts fixed the calibration errors would then vary too little.
        test: (N, K) probabilities a seed, as trained.
        restored: (N, K) probabilities a seed, with the class frequencies restored.
        scaled: (N, K) restored probabilities a seed, after scaling.
        temperatures: (S,) that were used.
        classes: in the order of the probabilities.
        malignant: (K,) bool, True for malignant classes.
        bins: of the calibration errors and of the Brier parts.
    """
    before, after_prior, after = (_scores(sample, free, state, malignant, bins) for state in (test, restored, scaled))
    by_class = {
        name: measure_line([p[:, k] for p in scaled], sample.labels == k, sample)
        for k, name in enumerate(classes)
        if np.any(sample.labels == k)
    }
    return Calibration(tuple(temperatures.tolist()), before, after_prior, after, by_class)


def _scores(
    sample: Resampled, free: Resampled, seeds: Sequence[Array], malignant: Array, bins: int
) -> CalibrationScores:
    answers = [top_class(sample.labels, p) for p in seeds]
    is_malignant = malignant[sample.labels]
    risks = [(p[:, malignant].sum(1), is_malignant) for p in seeds] if malignant.any() else []
    parts = [astuple(brier_parts(sample.labels, p, bins)) for p in seeds]
    log_losses = np.stack([log_loss(sample.labels, p, sample.weights) for p in seeds])
    briers = np.stack([brier(sample.labels, p, sample.weights) for p in seeds])
    return CalibrationScores(
        log_loss=sample.interval(log_losses, LOSS),
        brier=sample.interval(briers, BRIER_RANGE),
        parts=BrierParts(*np.mean(parts, axis=0).tolist()),
        errors=calibration_errors(answers, free, bins),
        curve=reliability(answers, sample),
        malignant=reliability(risks, sample),
        line=measure_line([p for p, _ in risks], is_malignant, sample) if risks else None,
    )


def calibration_errors(answers: Sequence[tuple[Array, Array]], sample: Resampled, bins: int) -> dict[str, Interval]:
    """The errors of `CalibrationScores`.

    `width` and `mass` have intervals over seeds alone: a resample looks worse calibrated than the images that it was
    drawn from.

    Args:
        answers: a seed: probability of the predicted class (N,), and whether it is right (N,) bool.
        sample: resampled without strata, see `calibrate`.
        bins: of equal width, and of equal mass.
    """
    plain: dict[str, list[float]] = {"width": [], "mass": []}
    squared, over = [], []
    for predicted, observed in answers:
        by_mass = equal_mass(predicted, bins)
        plain["width"].append(calibration_error(predicted, observed, equal_width(predicted, bins)))
        plain["mass"].append(calibration_error(predicted, observed, by_mass))
        squared.append(debiased_squared_errors(predicted, observed, by_mass, sample.groups, sample.weights))
        over.append(weighted_mean(predicted - observed, sample.weights))
    found = {name: student_interval(np.array(each), sample.confidence).inside(SHARE) for name, each in plain.items()}
    return {
        **found,
        "squared": sample.interval(np.stack(squared), DIFFERENCE),
        "overconfidence": sample.interval(np.stack(over), DIFFERENCE),
    }


def top_class(labels: Array, p: Array) -> tuple[Array, Array]:
    """Of each image the highest probability (N,), and whether that class is the true one, (N,) bool."""
    return p.max(1), p.argmax(1) == labels


# --- binnings and errors


def equal_width(predicted: Array, bins: int) -> Array:
    """(N,) the bin of each probability, (low, high], all of equal width."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], predicted, side="left")


def equal_mass(predicted: Array, bins: int) -> Array:
    """(N,) the bin of each probability, with as many images in each as ties allow: equal values share a bin."""
    ends = -(-np.arange(1, bins) * len(predicted) // bins)  # number of images in a bin and below it, rounded up
    return np.searchsorted(np.unique(np.sort(predicted)[ends - 1]), predicted, side="left")


def calibration_error(predicted: Array, observed: Array, places: Array) -> float:
    """Mean distance of predicted from observed frequency over bins (Guo et al. 2017, eq. 3); biased upwards.

    `places` (N,) is the bin of each image.
    """
    return float(np.abs(np.bincount(places, weights=observed - predicted)).sum() / len(predicted))


def brier(labels: Array, p: Array, weights: Array) -> Array:
    """Mean squared distance of (p_1 ... p_K) from the true class, in [0, 2] (Brier 1950), (C,)."""
    return weighted_mean(((p - np.eye(p.shape[1])[labels]) ** 2).sum(1), weights)


def brier_parts(labels: Array, p: Array, bins: int) -> BrierParts:
    """Each class against the rest in bins of equal mass, summed over classes."""
    by_class = [_parts_of(p[:, k], labels == k, bins) for k in range(p.shape[1])]
    return BrierParts(*np.sum(by_class, axis=0).tolist())


def _parts_of(predicted: Array, observed: Array, bins: int) -> tuple[float, float, float, float]:
    places = equal_mass(predicted, bins)
    counts = np.bincount(places)
    in_bin = (ratio(np.bincount(places, weights=each), counts)[places] for each in (predicted, observed))
    predicted_in, observed_in = in_bin
    base = observed.mean()
    spread, shared = (predicted - predicted_in) ** 2, (observed - observed_in) * (predicted - predicted_in)
    return (
        float(((predicted_in - observed_in) ** 2).mean()),
        float(((observed_in - base) ** 2).mean()),
        float(base * (1 - base)),
        float((spread - 2 * shared).mean()),
    )


def reliability(seeds: Sequence[tuple[Array, Array]], sample: Resampled) -> tuple[ReliabilityBin, ...]:
    """Predicted and observed frequency in CURVE_BINS bins of equal mass; seeds are pooled, lesions resampled.

    `seeds` holds (predicted, observed) of each seed.
    """
    if not seeds:
        return ()
    predicted, observed = (np.concatenate(each) for each in zip(*seeds, strict=True))  # (S N,)
    places = equal_mass(predicted, CURVE_BINS)
    bins = int(places.max()) + 1
    inside = (places == np.arange(bins)[:, None]).reshape(bins, len(seeds), -1)  # (B, S, N)
    right = inside & observed.astype(bool).reshape(len(seeds), -1)
    hits, images = (each.sum(1).astype(np.float32) @ sample.weights for each in (right, inside))  # (B, C)
    shares = sample.intervals(ratio(hits, images)[None], SHARE)
    counts = np.bincount(places)
    centres = np.bincount(places, weights=predicted) / counts
    return tuple(
        ReliabilityBin(float(centre), share, round(count / len(seeds)))
        for centre, share, count in zip(centres, shares, counts, strict=True)
    )


# --- temperature


def scale(p: Array, temperature: float) -> Array:
    """Probabilities of logits divided by `temperature`: above 1 less confident, below 1 more; the order stays."""
    scores = log_probabilities(p) / temperature
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def fit_temperature(labels: Array, p: Array) -> float:
    """The temperature with the lowest log loss on val (Guo et al. 2017, section 4.2), inside TEMPERATURES."""

    def loss(log_temperature: float) -> float:
        return float(image_losses(labels, scale(p, np.exp(log_temperature))).mean())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))
