"""Whether probabilities can be taken at their word: of what is said with 80 %, 80 % should be so.

Calibration errors in several binnings, Brier's score and its parts, one temperature fitted on val.
Letters: N images, K classes, B bins, S seeds, C columns of resamples. `said` is a probability (N,), `happened`
whether what it speaks of is so (N,): that the answer is right, or that the lesion is malignant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from components.statistics.intervals import Interval, student_interval
from components.statistics.metrics.log_loss import log_loss
from components.statistics.resampled import LOSS, SHARE, Resampled
from components.statistics.weighting import ratio, weighted_mean

Array = npt.NDArray[Any]

TINY = float(np.finfo(np.float64).eps)  # the same floor as log loss has
TEMPERATURES = (0.05, 20.0)
"""Between these a temperature is looked for; one at an end says that val knows none."""

CURVE_BINS = 10
"""Points of a reliability curve, each of as many images as the others."""


@dataclass(frozen=True)
class Parts:
    """Brier's score taken apart (Murphy 1973), summed over classes; they add up to it exactly.

    `within` is what bins hide: the spread of probabilities inside a bin, less twice its covariance with what
    happened (Stephenson, Coelho & Jolliffe 2008, eq. 7). With one probability a bin it is zero.
    """

    reliability: float  # squared distance of what is said from what happens: lower is better
    resolution: float  # squared distance of what happens in a bin from what happens overall: higher is better
    uncertainty: float  # of the images, whatever a model says
    within: float

    @property
    def brier(self) -> float:
        """The score that the parts make."""
        return self.reliability - self.resolution + self.uncertainty + self.within


@dataclass(frozen=True)
class Point:
    """One bin of a reliability curve, over all seeds."""

    said: float
    happened: Interval  # over lesions
    images: int  # a seed


@dataclass(frozen=True)
class Scores:
    """One state of a model's probabilities on test images: as trained, or after temperature scaling."""

    log_loss: Interval
    brier: Interval
    parts: Parts  # means over seeds
    errors: Mapping[str, Interval]  # `width`, `mass`, `debiased`; over seeds alone
    curve: tuple[Point, ...]  # of the answer's probability
    malignant: tuple[Point, ...]  # of the probability of malignancy; empty where no class is


@dataclass(frozen=True)
class Calibration:
    """Before and after a temperature that val chose."""

    temperatures: tuple[float, ...]  # one a seed
    before: Scores
    after: Scores


def calibrate(
    sample: Resampled, test: Sequence[Array], scaled: Sequence[Array], temperatures: Array, malignant: Array, bins: int
) -> Calibration:
    """Both states of one arm's seeds: `test` and `scaled` hold (N, K) a seed, `malignant` (K,) marks classes."""
    before, after = (_scores(sample, state, malignant, bins) for state in (test, scaled))
    return Calibration(tuple(temperatures.tolist()), before, after)


def _scores(sample: Resampled, seeds: Sequence[Array], malignant: Array, bins: int) -> Scores:
    answers = [answer(sample.labels, p) for p in seeds]
    is_malignant = malignant[sample.labels]
    risks = [(p[:, malignant].sum(1), is_malignant) for p in seeds] if malignant.any() else []
    parts = [brier_parts(sample.labels, p, bins) for p in seeds]
    log_losses = np.stack([log_loss(sample.labels, p, sample.weights) for p in seeds])
    briers = np.stack([brier(sample.labels, p, sample.weights) for p in seeds])
    return Scores(
        sample.interval(log_losses, LOSS),
        sample.interval(briers, (0.0, 2.0)),
        Parts(*np.mean([[x.reliability, x.resolution, x.uncertainty, x.within] for x in parts], axis=0).tolist()),
        _errors(answers, sample, bins),
        reliability(answers, sample),
        reliability(risks, sample),
    )


def _errors(answers: Sequence[tuple[Array, Array]], sample: Resampled, bins: int) -> dict[str, Interval]:
    """Over seeds alone: resampled images look worse calibrated than the images that they were drawn from."""
    found: dict[str, list[float]] = {"width": [], "mass": [], "debiased": []}
    for said, happened in answers:
        by_mass = equal_mass(said, bins)
        squared = debiased_squared_error(said, happened, by_mass, sample.groups)
        found["width"].append(calibration_error(said, happened, equal_width(said, bins)))
        found["mass"].append(calibration_error(said, happened, by_mass))
        found["debiased"].append(float(np.sqrt(max(squared, 0.0))))
    intervals = {name: student_interval(np.array(values), sample.confidence) for name, values in found.items()}
    return {name: _bounded(interval) for name, interval in intervals.items()}


def _bounded(interval: Interval) -> Interval:
    """Inside [0, 1] where its ends are known."""
    return Interval(interval.mean, max(interval.low, 0.0), min(interval.high, 1.0)) if interval.known else interval


def answer(labels: Array, p: Array) -> tuple[Array, Array]:
    """The likeliest class's probability (N,), and whether that class is the right one (N,)."""
    return p.max(1), p.argmax(1) == labels


# --- binnings and errors


def equal_width(said: Array, bins: int) -> Array:
    """(N,) the bin of each probability, (low, high], all equally wide."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], said, side="left")


def equal_mass(said: Array, bins: int) -> Array:
    """(N,) the bin of each probability, as many images in each as ties allow: equal ones share a bin."""
    ends = -(-np.arange(1, bins) * len(said) // bins)  # how many images stand in a bin or below it, rounded up
    return np.searchsorted(np.unique(np.sort(said)[ends - 1]), said, side="left")


def calibration_error(said: Array, happened: Array, places: Array) -> float:
    """Mean distance of what is said from what happens, bin by bin (Guo et al. 2017, eq. 3); biased upwards."""
    return float(np.abs(np.bincount(places, weights=happened - said)).sum() / len(said))


def debiased_squared_error(said: Array, happened: Array, places: Array, groups: Array) -> float:
    """The mean squared distance in bins without the luck of few images in it; may fall below zero.

    The mean of `d_i d_j`, d = happened - said, over pairs of images of different lesions in a bin: luck of one
    lesion is not multiplied by itself. With one image a lesion and one probability a bin it is the estimator of
    Kumar, Liang & Ma (2019, section 5.1). A bin of one lesion has no pair and is left out.
    """
    codes = places * (len(groups) + 1) + np.unique(groups, return_inverse=True)[1]
    cells, cell = np.unique(codes, return_inverse=True)  # one a bin and lesion
    sums, counts = np.bincount(cell, weights=happened - said), np.bincount(cell).astype(float)
    bin_of = cells // (len(groups) + 1)
    total, images = np.bincount(bin_of, weights=sums), np.bincount(bin_of, weights=counts)
    pairs = images**2 - np.bincount(bin_of, weights=counts**2)
    squared = ratio(total**2 - np.bincount(bin_of, weights=sums**2), pairs)
    known = pairs > 0
    return float(np.average(squared[known], weights=images[known])) if known.any() else 0.0


def brier(labels: Array, p: Array, weights: Array) -> Array:
    """Mean squared distance of (p_1 ... p_K) from the truth, in [0, 2] (Brier 1950), (C,)."""
    return weighted_mean(((p - np.eye(p.shape[1])[labels]) ** 2).sum(1), weights)


def brier_parts(labels: Array, p: Array, bins: int) -> Parts:
    """Each class against the rest in bins of equal mass, summed over classes."""
    by_class = [_parts_of(p[:, k], labels == k, bins) for k in range(p.shape[1])]
    return Parts(*np.sum(by_class, axis=0).tolist())


def _parts_of(said: Array, happened: Array, bins: int) -> tuple[float, float, float, float]:
    places = equal_mass(said, bins)
    counts = np.bincount(places)
    said_in, happened_in = (ratio(np.bincount(places, weights=each), counts)[places] for each in (said, happened))
    base = happened.mean()
    spread, shared = (said - said_in) ** 2, (happened - happened_in) * (said - said_in)
    return (
        float(((said_in - happened_in) ** 2).mean()),
        float(((happened_in - base) ** 2).mean()),
        float(base * (1 - base)),
        float((spread - 2 * shared).mean()),
    )


def reliability(seeds: Sequence[tuple[Array, Array]], sample: Resampled) -> tuple[Point, ...]:
    """What is said and what happens in CURVE_BINS bins of equal mass; seeds are pooled, lesions resampled."""
    if not seeds:
        return ()
    said, happened = (np.concatenate(each) for each in zip(*seeds, strict=True))  # (S N,)
    places = equal_mass(said, CURVE_BINS)
    bins = int(places.max()) + 1
    inside = (places == np.arange(bins)[:, None]).reshape(bins, len(seeds), -1)  # (B, S, N)
    right = inside & happened.astype(bool).reshape(len(seeds), -1)
    hits, images = (each.sum(1).astype(np.float32) @ sample.weights for each in (right, inside))  # (B, C)
    shares = sample.intervals(ratio(hits, images)[None], SHARE)
    counts = np.bincount(places)
    centres = np.bincount(places, weights=said) / counts
    return tuple(
        Point(float(said), share, round(count / len(seeds)))
        for said, share, count in zip(centres, shares, counts, strict=True)
    )


# --- temperature


def scale(p: Array, temperature: float) -> Array:
    """Probabilities of logits divided by `temperature`: above 1 less sure, below 1 surer, the answer the same."""
    scores = np.log(np.clip(p, TINY, 1)) / temperature
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def fit_temperature(labels: Array, p: Array) -> float:
    """The temperature at which val's log loss is least (Guo et al. 2017, section 4.2), inside TEMPERATURES."""
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        chosen = scale(p, np.exp(log_temperature))[rows, labels]
        return float(-np.log(np.clip(chosen, TINY, 1)).mean())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))
