"""The three measures of every run's learning curve, on the val images as they are and on resampled val lesions.

Other val lesions would give other curves, the same ones for both arms. So the lesions are resampled as those of test
are for accuracy; the same resamples serve all runs, so that differences stay paired. E epochs, C columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from components.base.run_id import FinetuneProtocol
from components.comparison.epoch_images import EpochImages, check_same_images, read_epoch_images
from components.comparison.overfitting_gap import shared_epochs
from components.paper.curve_measures import Array, epochs_to_converge, relative_fall, share_of_falls
from components.statistics.bootstrap import Sample
from components.statistics.class_means import LesionResamples
from components.statistics.intervals import Estimate, estimate
from components.statistics.runs import Run, by_protocol

STREAM = 3
"""Keeps these resamples apart from those of test lesions and of the gap."""


def measure_curves(
    runs: Sequence[Run], classes: Sequence[str], resamples: int, seed: int
) -> dict[str, tuple[dict[str, Sample], Array]]:
    """By run: a sample of each measure by claim, and the strata of the resampled lesions.

    Args:
        runs: every run of the study, with its curve and its images by epoch.
        classes: of the study, in order.
        resamples: of val lesions.
        seed: of the resamples.

    Raises:
        DataError: where the images of a run are not of its curve, or runs have other val images.
    """
    images = {run.name: read_epoch_images(run, classes) for run in runs}
    check_same_images(images, {run.name: run.seed for run in runs})
    first = next(iter(images.values()))["val"]
    drawn = LesionResamples.draw(first.groups, first.labels, resamples, np.random.default_rng([seed, STREAM]))
    epochs = _common_epochs(runs)
    return {
        run.name: (_measure(images[run.name]["val"], drawn, len(classes), epochs[run.protocol]), drawn.strata)
        for run in runs
    }


def difference(
    arm: Sequence[tuple[Mapping[str, Sample], Array]],
    reference: Sequence[tuple[Mapping[str, Sample], Array]],
    claim: str,
) -> Estimate:
    """Arm minus reference, paired by seed and lesion; both are of `measure_curves`, a value a seed."""
    samples = [mine[claim] - its[claim] for (mine, _), (its, _) in zip(arm, reference, strict=True)]
    return estimate(samples, arm[0][1])


def _common_epochs(runs: Sequence[Run]) -> dict[FinetuneProtocol, int]:
    """The number of epochs that all runs of a protocol have."""
    return {
        protocol: shared_epochs([run.curve for side in arms.values() for run in side])
        for protocol, arms in by_protocol(runs).items()
    }


def _measure(images: EpochImages, drawn: LesionResamples, classes: int, epochs: int) -> dict[str, Sample]:
    """The measures of one run; `epochs` are those that all runs have."""
    count = images.losses.shape[1]
    values = np.vstack([images.losses.T, images.wrong.T])  # (2 E, N)
    means = drawn.class_means(images.groups, images.labels, values, classes)  # (2 E, K, C)
    loss, wrong = means[:count], means[count:]
    counts = np.bincount(images.labels, minlength=classes)  # (K,)
    found = {
        "convergence": epochs_to_converge(1 - _curve(drawn, wrong, (counts > 0).astype(int)), 1 / classes),
        "fall": relative_fall(_curve(drawn, loss[:epochs], counts)),
        "steadiness": share_of_falls(1 - _curve(drawn, wrong[:epochs], counts)),
    }  # (C,) each
    last = 1 + drawn.counts.shape[1]
    return {claim: Sample(float(each[0]), each[1:last], each[last:]) for claim, each in found.items()}


def _curve(drawn: LesionResamples, by_class: Array, shares: Array) -> Array:
    """The mean over images in every column, (E, C), from means by class (E, K, C)."""
    return np.stack([_columns(sample) for sample in drawn.samples(by_class, shares)])


def _columns(sample: Sample) -> Array:
    return np.concatenate([[sample.value], sample.resampled, sample.omitted])
