"""What is measured: the test images, the corruptions and masked pictures shown to each run, and the predictions.

Letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy.typing as npt

from components.base.errors import DataError
from components.base.run_id import FinetuneProtocol, RunId, model_name
from components.robustness.settings import Robustness
from components.statistics.question import StudyQuestion

Array = npt.NDArray[Any]

ModelKey = tuple[str, FinetuneProtocol]
"""Arm and protocol: one model with several seeds."""


class CorruptionLevel(NamedTuple):
    """A corruption at one strength."""

    corruption: str
    strength: int


@dataclass(frozen=True)
class MeasuredImages:
    """The test images that were corrupted and masked: all of the split or a sample of it."""

    labels: Array  # (N,) index of the class
    groups: Array  # (N,) lesion or patient
    lesion_found: Array  # (N,) bool, True where a lesion outline was found
    touches_border: Array  # (N,) bool, True where the lesion reaches into the border


@dataclass(frozen=True)
class RunPredictions:
    """One run's class probabilities (N, K) for each version of the images."""

    run: RunId
    clean: Array
    corrupted: Mapping[CorruptionLevel, Array]
    masked: Mapping[str, Array]  # by occlusion.PICTURES


def corruption_levels(settings: Robustness) -> tuple[CorruptionLevel, ...]:
    """Every corruption at every strength, in the settings' order."""
    return tuple(
        CorruptionLevel(corruption, strength) for corruption in settings.corruptions for strength in settings.strengths
    )


def group_by_model(
    runs: Sequence[RunPredictions], question: StudyQuestion, settings: Robustness
) -> dict[ModelKey, list[RunPredictions]]:
    """Runs by protocol and arm, each in the order of its seeds.

    Raises:
        DataError: where a model has not every seed of the study, or a run lacks predictions for a corruption:
            differences are paired by seed and image.
    """
    models: dict[ModelKey, list[RunPredictions]] = {}
    for protocol in question.protocols:
        for arm in question.arms:
            own = [each for each in runs if (each.run.arm, each.run.protocol) == (arm, protocol)]
            models[arm, protocol] = sorted(own, key=lambda each: each.run.seed)
    expected = sorted(question.seeds)
    for own, (arm, protocol) in zip(models.values(), models, strict=True):
        seeds = [each.run.seed for each in own]
        if seeds != expected:
            raise DataError(
                f"robustness: {model_name(arm, protocol)} has seeds {seeds}, expected {expected}, since "
                "differences are paired by seed; repeat: dvc repro -f robustness"
            )
    for each in runs:
        missing = [level for level in corruption_levels(settings) if level not in each.corrupted]
        if missing:
            raise DataError(
                f"robustness: {each.run} has no predictions for {missing[0].corruption} at strength "
                f"{missing[0].strength}; repeat: dvc repro -f robustness"
            )
    return models
