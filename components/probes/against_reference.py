"""How much more an arm's encoders know of the classes than the reference's, before any fine-tuning.

Letters: N val images, S seeds, C columns of `statistics.resampled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.probes.analysis import EncoderProbes
from components.probes.linear import Labels
from components.statistics.intervals import Interval
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.question import StudyQuestion
from components.statistics.resampled import DIFFERENCE, Array, resample

STREAM = 0x9B0B
"""Keeps these resamples of val lesions apart from those of other analyses."""


@dataclass(frozen=True)
class ProbeDifference:
    """Arm minus reference: balanced accuracy on val of the probe of all stages, paired by seed and lesion."""

    arm: str
    difference: Interval
    """Over seeds (another pretraining) and val lesions; train images are taken as given."""
    p: float
    """Of no difference, not corrected."""


def compare_probes(
    probes: Sequence[EncoderProbes], labels: Labels, groups: Array, question: StudyQuestion
) -> tuple[ProbeDifference, ...]:
    """Every arm against the reference of the study, in its order.

    Args:
        probes: of every arm and seed of the study.
        labels: (N,) of the val images.
        groups: (N,) their lesions or patients, which are resampled whole.
        question: gives the reference, the rule and the resamples.
    """
    question = question.with_resamples_for(question.tests)  # as many as `compare` has
    rng = np.random.default_rng([question.seed, STREAM])
    sample = resample(labels, groups, question.resamples, question.rule.confidence, rng)
    accuracies = {
        arm: np.stack([balanced_accuracy(labels, each.on_val, sample.weights) for each in probes if each.arm == arm])
        for arm in question.arms
    }  # (S, C) each
    estimates = {
        arm: sample.estimate(accuracies[arm] - accuracies[question.reference], DIFFERENCE)
        for arm in question.challengers
    }
    return tuple(
        ProbeDifference(arm, each.interval(question.rule.confidence), each.p_value()) for arm, each in estimates.items()
    )
