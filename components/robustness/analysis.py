"""How robust the models are: accuracy lost under image corruptions, and accuracy left when the lesion is masked.

`corruption_drop` measures the first, `shortcut_test` the second, both on the predictions of `measurements`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.base.run_id import FinetuneProtocol, model_name
from components.robustness.corruption_drop import CorruptionDrop, ModelDrops, count_corruption_tests, measure_drops
from components.robustness.measurements import MeasuredImages, RunPredictions, group_by_model
from components.robustness.settings import Robustness
from components.robustness.shortcut_test import ShortcutResult, count_tests, find_shortcuts
from components.statistics.question import StudyQuestion
from components.statistics.resampled import resample


@dataclass(frozen=True)
class ModelRobustness:
    """One arm under one protocol."""

    arm: str
    protocol: FinetuneProtocol
    drops: ModelDrops
    shortcuts: tuple[ShortcutResult, ...]

    @property
    def name(self) -> str:
        """`ARM-PROTOCOL`."""
        return model_name(self.arm, self.protocol)

    @property
    def worst(self) -> CorruptionDrop:
        """The corruption with the largest mean drop."""
        return max(self.drops.corruptions, key=lambda corruption: corruption.drop.mean)


@dataclass(frozen=True)
class RobustnessResult:
    """The result of the analysis; models in the order of protocols, then arms."""

    question: StudyQuestion
    settings: Robustness
    image_size: int  # pixels, side of the packed images
    images: int
    groups: int  # lesions or patients
    test_images: int  # of the whole split, from which `images` were drawn
    lesions_found: int  # images with a lesion outline
    lesions_touch_border: int  # images whose lesion reaches into the border
    models: tuple[ModelRobustness, ...]

    @property
    def corruption_tests(self) -> int:
        """Size of the family of single corruptions."""
        return count_corruption_tests(self.question, self.settings)

    @property
    def enough_seeds(self) -> bool:
        """False where the decision rule allows no claim."""
        return len(self.question.seeds) >= self.question.rule.min_seeds


def analyse(
    measured: MeasuredImages,
    runs: Sequence[RunPredictions],
    question: StudyQuestion,
    settings: Robustness,
    *,
    image_size: int,
    test_images: int,
) -> RobustnessResult:
    """Drops and shortcuts of every model.

    Args:
        measured: the images that were corrupted and masked.
        runs: predictions of every arm, protocol and seed.
        question: what is compared, and the decision rule.
        settings: the corruptions and their strengths.
        image_size: side of the packed images, pixels.
        test_images: number of images in the test split.

    Raises:
        DataError: where a seed or the predictions for a corruption are missing.
    """
    question = question.with_resamples_for(max(count_corruption_tests(question, settings), count_tests(question)))
    models = group_by_model(runs, question, settings)
    rng = np.random.default_rng(question.seed)
    sample = resample(measured.labels, measured.groups, question.resamples, question.rule.confidence, rng)
    drops = measure_drops(models, sample, question, settings)
    shortcuts = find_shortcuts(models, measured, question)
    return RobustnessResult(
        question=question,
        settings=settings,
        image_size=image_size,
        images=len(measured.labels),
        groups=len(np.unique(measured.groups)),
        test_images=test_images,
        lesions_found=int(measured.lesion_found.sum()),
        lesions_touch_border=int(measured.touches_border.sum()),
        models=tuple(
            ModelRobustness(arm, protocol, drops[arm, protocol], shortcuts[arm, protocol]) for arm, protocol in models
        ),
    )
