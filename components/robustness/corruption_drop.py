"""How much balanced accuracy each model loses under corruptions, and whether it loses more or less than the reference.

A drop is the balanced accuracy on the clean images minus that on the same images corrupted, with the same seed.
Letters: N images, S seeds, L corruption levels, M = 1 + L versions of an image (clean first), C columns of
`statistics.resampled`: the images as they are, resampled lesions, one lesion left out.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from components.robustness.measurements import ModelKey, RunPredictions, corruption_levels
from components.robustness.settings import Robustness
from components.statistics.intervals import Estimate, Interval
from components.statistics.question import StudyQuestion
from components.statistics.resampled import DIFFERENCE, SHARE, Resampled
from components.statistics.significance import holm_by_key
from components.statistics.weighting import ratio

Array = npt.NDArray[Any]
Key = TypeVar("Key", bound=Hashable)

DROP_DIFFERENCE = (-2.0, 2.0)
"""Bounds of one drop minus another."""


@dataclass(frozen=True)
class StrengthDrop:
    """One corruption at one strength."""

    strength: int
    accuracy: Interval  # balanced, in [0, 1]
    drop: Interval  # clean minus corrupted, paired, in [-1, 1]


@dataclass(frozen=True)
class DropDifference:
    """A model's drop minus the reference's, on the same lesions and with the same seeds."""

    interval: Interval  # in [-2, 2]
    p: float
    p_holm: float
    significant: bool  # interval excludes zero, p_holm at most alpha, and enough seeds


@dataclass(frozen=True)
class CorruptionDrop:
    """One corruption at all strengths."""

    name: str
    strengths: tuple[StrengthDrop, ...]
    drop: Interval  # mean over strengths
    difference: DropDifference | None  # None for the reference


@dataclass(frozen=True)
class ModelDrops:
    """All corruptions of one model."""

    clean: Interval  # balanced accuracy
    corruptions: tuple[CorruptionDrop, ...]
    overall: Interval  # drop, mean over corruptions and strengths
    difference: DropDifference | None  # None for the reference


def measure_drops(
    models: Mapping[ModelKey, Sequence[RunPredictions]],
    sample: Resampled,
    question: StudyQuestion,
    settings: Robustness,
) -> dict[ModelKey, ModelDrops]:
    """The drops of every model; Holm's correction as `compare_drops` describes."""
    accuracies = {
        model: np.stack([accuracies_of(run, sample, settings) for run in runs]) for model, runs in models.items()
    }  # (S, M, C) each
    drops = {model: each[:, :1] - each[:, 1:] for model, each in accuracies.items()}  # (S, L, C)
    overall, by_corruption = compare_drops(drops, sample, question, settings)
    found = {}
    for model, lost in drops.items():
        levels = _strength_drops(accuracies[model][:, 1:], lost, sample, settings)
        corruptions = []
        for name in settings.corruptions:
            places = places_of(name, settings)
            drop = sample.interval(lost[:, places].mean(1), DIFFERENCE)
            strengths = tuple(levels[place] for place in places)
            corruptions.append(CorruptionDrop(name, strengths, drop, by_corruption.get((model, name))))
        found[model] = ModelDrops(
            clean=sample.interval(accuracies[model][:, 0], SHARE),
            corruptions=tuple(corruptions),
            overall=sample.interval(lost.mean(1), DIFFERENCE),
            difference=overall.get(model),
        )
    return found


def _strength_drops(accuracies: Array, drops: Array, sample: Resampled, settings: Robustness) -> list[StrengthDrop]:
    """One a corruption level, from (S, L, C) each."""
    levels = corruption_levels(settings)
    by_level = zip(levels, sample.intervals(accuracies, SHARE), sample.intervals(drops, DIFFERENCE), strict=True)
    return [StrengthDrop(level.strength, accuracy, drop) for level, accuracy, drop in by_level]


def accuracies_of(run: RunPredictions, sample: Resampled, settings: Robustness) -> Array:
    """Balanced accuracy of one run on the clean images and at each corruption level, (M, C)."""
    versions = [run.clean, *(run.corrupted[level] for level in corruption_levels(settings))]
    right = np.stack([p.argmax(1) == sample.labels for p in versions])  # (M, N)
    return balanced_accuracies(right, sample.labels, sample.weights)


def balanced_accuracies(right: Array, labels: Array, weights: Array) -> Array:
    """Balanced accuracy of M versions of the images in every column.

    The values of `statistics.metrics.balanced_accuracy`, with a K-th of its work for K classes: each class has its own
    rows of one matrix product.

    Args:
        right: (M, N) bool, True where the prediction is right.
        labels: (N,) class index.
        weights: (N, C) float32 counts.

    Returns:
        (M, C) in [0, 1]; NaN in a column without images.
    """
    total, known = np.zeros((len(right), weights.shape[1])), np.zeros(weights.shape[1])
    for k in np.unique(labels):
        rows = labels == k
        images = weights[rows].sum(0, dtype=np.float64)  # (C,)
        hits = (right[:, rows].astype(np.float32) @ weights[rows]).astype(np.float64)  # counts are exact in float32
        total += np.divide(hits, images, out=np.zeros_like(hits), where=images > 0)
        known += images > 0
    return ratio(total, known)


def compare_drops(
    drops: Mapping[ModelKey, Array], sample: Resampled, question: StudyQuestion, settings: Robustness
) -> tuple[dict[ModelKey, DropDifference], dict[tuple[ModelKey, str], DropDifference]]:
    """Each challenger's mean drop minus the reference's, over all corruptions and for each corruption.

    Two families of tests, each with Holm's correction: the mean drops over all arms and protocols, and the drops of
    single corruptions over arms, protocols and corruptions.

    Args:
        drops: (S, L, C) of each model.
        sample: the resampled test images.
        question: names the reference and the decision rule.
        settings: name the corruptions.
    """
    challengers = [model for model in drops if model[0] != question.reference]
    differences = {
        (arm, protocol): drops[arm, protocol] - drops[question.reference, protocol] for arm, protocol in challengers
    }
    overall = {model: sample.estimate(each.mean(1), DROP_DIFFERENCE) for model, each in differences.items()}
    by_corruption = {
        (model, name): sample.estimate(each[:, places_of(name, settings)].mean(1), DROP_DIFFERENCE)
        for model, each in differences.items()
        for name in settings.corruptions
    }
    return _test_family(overall, question), _test_family(by_corruption, question)


def count_corruption_tests(question: StudyQuestion, settings: Robustness) -> int:
    """Size of the family of single corruptions, the larger of the two."""
    return question.comparisons * len(settings.corruptions)


def _test_family(estimates: Mapping[Key, Estimate], question: StudyQuestion) -> dict[Key, DropDifference]:
    """One family of differences with Holm's correction."""
    tested = holm_by_key({key: each.p_value() for key, each in estimates.items()})
    enough_seeds = len(question.seeds) >= question.rule.min_seeds
    found = {}
    for key, each in estimates.items():
        interval, test = each.interval(question.rule.confidence), tested[key]
        excludes_zero = interval.low > 0 or interval.high < 0
        significant = enough_seeds and excludes_zero and test.holm <= question.rule.alpha
        found[key] = DropDifference(interval, test.p, test.holm, bool(significant))
    return found


def places_of(name: str, settings: Robustness) -> list[int]:
    """Positions of a corruption's strengths among `corruption_levels`."""
    return [place for place, level in enumerate(corruption_levels(settings)) if level.corruption == name]
