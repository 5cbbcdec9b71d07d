"""The overfitting gap of each run at several epochs, as it is and in every resample of train and val lesions.

Train and val lesions are resampled independently, whole lesions, stratified by class. The shares of the classes stay
those of the images that the gap is measured on: they are equal on train and val by design, so they are no source of
variance. Every gap here is linear in the gaps of single epochs, so it is a row of weights of the epochs.

E epochs, P rows of weights, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from components.base.log import Log
from components.base.run_id import FinetuneProtocol
from components.comparison.epoch_images import EpochImages, check_same_images, read_epoch_images
from components.comparison.overfitting_gap import (
    DECIDING_GAP,
    GAPS,
    GapDifference,
    at_position,
    gap_curve,
    paired,
    places,
)
from components.statistics.bootstrap import Sample
from components.statistics.class_means import LesionResamples
from components.statistics.intervals import Interval, estimate, student_interval
from components.statistics.question import StudyQuestion
from components.statistics.runs import Run
from components.statistics.two_sets import joint_strata, set_difference

Array = npt.NDArray[Any]

RESAMPLED_GAPS = ("gap/loss", "gap/accuracy", "gap/balanced_accuracy")
"""The others, which are no mean over images, have intervals over seeds alone."""

STREAM = 2
"""Keeps the resamples of train and val lesions apart from those of test lesions."""

GapSamples = Mapping[str, Sample]
"""By name of GAPS; those that are not resampled have an empty sample."""


@dataclass(frozen=True)
class ResampledGaps:
    """The train and val images of every run, and the resamples that all runs share."""

    val: LesionResamples
    train: LesionResamples
    images: Mapping[str, Mapping[str, EpochImages]]
    """By run and split."""
    classes: int
    confidence: float

    @classmethod
    def of(cls, runs: Sequence[Run], question: StudyQuestion) -> Self:
        """Draw the resamples, from the union of the images of all runs.

        Raises:
            DataError: where the images of a run are not of its curve, or runs have other images.
        """
        images = {run.name: read_epoch_images(run, question.classes) for run in runs}
        check_same_images(images, {run.name: run.seed for run in runs})
        rng = np.random.default_rng([question.seed, STREAM])
        val, train = (_draw([found[split] for found in images.values()], question, rng) for split in ("val", "train"))
        return cls(val, train, images, len(question.classes), question.rule.confidence)

    @property
    def strata(self) -> Array:
        """(G val + G train,)."""
        return joint_strata(self.val.strata, self.train.strata)

    def measure(self, run: Run, weights: Array) -> Sequence[GapSamples]:
        """The gaps of a run for each row of `weights` (P, E); NaN for a row of NaN."""
        found: list[dict[str, Sample]] = [{} for _ in weights]
        val, train = (
            self._by_quantity(resamples, self.images[run.name][split], weights)
            for split, resamples in (("val", self.val), ("train", self.train))
        )
        for name in GAPS:
            curve = gap_curve(run, name)
            for row, samples in enumerate(found):
                samples[name] = (
                    set_difference(val[name][row], train[name][row])
                    if name in RESAMPLED_GAPS
                    else Sample(float(weights[row] @ curve), np.empty(0), np.empty(0))
                )
        return found

    def _by_quantity(self, resamples: LesionResamples, images: EpochImages, weights: Array) -> dict[str, list[Sample]]:
        """Samples (P,) of loss and errors on one set; of accuracy the share of errors, so that gaps are val - train."""
        values = np.vstack([weights @ images.losses.T, weights @ images.wrong.T])  # (2 P, N)
        means = resamples.class_means(images.groups, images.labels, values, self.classes)
        loss, wrong = means[: len(weights)], means[len(weights) :]
        counts = np.bincount(images.labels, minlength=self.classes)
        found = (loss, counts), (wrong, counts), (wrong, (counts > 0).astype(int))
        return {name: resamples.samples(*given) for name, given in zip(RESAMPLED_GAPS, found, strict=True)}

    def interval(self, samples: Sequence[Sample]) -> Interval:
        """The mean over seeds of samples (S,)."""
        if _is_resampled(samples):
            return estimate(samples, self.strata).interval(self.confidence)
        return student_interval(np.array([each.value for each in samples]), self.confidence)

    def difference(self, arm: Sequence[Sample], reference: Sequence[Sample], *, tested: bool = True) -> GapDifference:
        """Arm minus reference, paired by seed and lesion."""
        samples = [mine - its for mine, its in zip(arm, reference, strict=True)]
        if not tested:
            return GapDifference(self.interval(samples), float("nan"))
        if not _is_resampled(samples):
            return paired(np.array([each.value for each in samples]), self.confidence)
        found = estimate(samples, self.strata)
        return GapDifference(found.interval(self.confidence), found.p_value())


def _draw(images: Sequence[EpochImages], question: StudyQuestion, rng: np.random.Generator) -> LesionResamples:
    groups, labels = (np.concatenate([getattr(each, name) for each in images]) for name in ("groups", "labels"))
    return LesionResamples.draw(groups, labels, question.resamples, rng)


def _is_resampled(samples: Sequence[Sample]) -> bool:
    return bool(np.isfinite([each.value for each in samples]).all()) and len(samples[0].resampled) > 0


@dataclass(frozen=True)
class RunGaps:
    """The gaps of one run."""

    run: Run
    places: Mapping[str, GapSamples]
    """By name of PLACES."""

    def __getitem__(self, place: str) -> GapSamples:
        return self.places[place]


def measure_gaps(
    runs: Sequence[Run], epochs: Mapping[FinetuneProtocol, int], gaps: ResampledGaps, log: Log
) -> dict[str, RunGaps]:
    """By run; `epochs` is the number of epochs that all runs of a protocol have."""
    found = {}
    for run in log.track(runs, len(runs), "runs, resamples of train and val lesions"):
        rows = places(run, epochs[run.protocol])
        found[run.name] = RunGaps(run, dict(zip(rows, gaps.measure(run, np.stack(list(rows.values()))), strict=True)))
    return found


@dataclass(frozen=True)
class EqualLoss:
    """The gaps of two arms where both have the same train loss; a model that learned less overfits less."""

    targets: tuple[float, ...]
    """A seed: the train loss of both, nats."""
    arm_epochs: tuple[float, ...]
    """A seed: where the arm first has it, interpolated; 1 is the end of the first pass."""
    reference_epochs: tuple[float, ...]
    below: int
    """Runs whose first epoch is below the target already; their first epoch counts."""
    arm: Mapping[str, Interval]
    """Of GAPS."""
    reference: Mapping[str, Interval]
    difference: Mapping[str, GapDifference]


def at_equal_loss(arm: Sequence[Run], reference: Sequence[Run], epochs: int, gaps: ResampledGaps) -> EqualLoss:
    """Compare two arms where they have the same train loss, seed by seed.

    The target is the larger of the smallest train losses that the two runs of a seed reach, so both reach it. Where a
    run first reaches it is taken from the images as they are, and kept in every resample.

    Args:
        arm: one run a seed.
        reference: the same seeds.
        epochs: that all runs have; later ones are not looked at.
        gaps: of these runs.
    """
    pairs = list(zip(arm, reference, strict=True))
    losses = [[run.curve["train/loss"].to_numpy(float)[:epochs] for run in pair] for pair in pairs]
    targets = [max(float(loss.min()) for loss in both) for both in losses]
    reached = [[reach(loss, target) for loss in both] for both, target in zip(losses, targets, strict=True)]
    samples = [
        [gaps.measure(run, at_position(at, len(run.curve))[None])[0] for run, at in zip(pair, both, strict=True)]
        for pair, both in zip(pairs, reached, strict=True)
    ]
    sides = [{name: [both[side][name] for both in samples] for name in GAPS} for side in (0, 1)]
    return EqualLoss(
        targets=tuple(targets),
        arm_epochs=tuple(1 + both[0] for both in reached),
        reference_epochs=tuple(1 + both[1] for both in reached),
        below=sum(bool(loss[0] < target) for both, target in zip(losses, targets, strict=True) for loss in both),
        arm={name: gaps.interval(each) for name, each in sides[0].items()},
        reference={name: gaps.interval(each) for name, each in sides[1].items()},
        difference={
            name: gaps.difference(sides[0][name], sides[1][name], tested=name == DECIDING_GAP) for name in GAPS
        },
    )


def reach(losses: Array, target: float) -> float:
    """Where losses (E,) first are at most `target`, from 0, on straight lines between epochs; 0 if they begin there."""
    first = int(np.flatnonzero(losses <= target)[0])
    if first == 0:
        return 0.0
    before, after = losses[first - 1 : first + 1]
    return float(first - 1 + (before - target) / (before - after))
