"""Label efficiency: test metrics by the number of train lesions, and where one arm's curve crosses another's.

Letters: P shares of the train lesions (the last is all of them), S seeds, C columns of `bootstrap.Design`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.base.errors import DataError
from components.base.run_id import FinetuneProtocol, RunId
from components.label_efficiency.crossing import CurveComparison, compare_curves, draw_seed_noise
from components.label_efficiency.settings import LabelEfficiency
from components.statistics.intervals import Interval
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.question import StudyQuestion
from components.statistics.resampled import DIFFERENCE, SHARE, Resampled, resample
from components.statistics.runs import Run, architectures, check_conditions, encoders, probabilities, same_images
from components.statistics.weighting import Array, ScalarMetric

METRICS = {"balanced_accuracy": balanced_accuracy, "macro_auroc": macro_auroc}

LEADING = "balanced_accuracy"
"""The metric of the sentences and of the tracked numbers."""


@dataclass(frozen=True)
class LearningCurvePoint:
    """One arm with one share of the train lesions: means over seeds on test images, by metric."""

    arm: str
    share: float
    """As in the settings."""
    lesions: int
    """In the subset."""
    scores: dict[str, Interval]
    differences: dict[str, Interval]
    """Minus the reference with as many lesions, paired; empty for the reference."""


@dataclass(frozen=True)
class LabelEfficiencyResult:
    """The learning curves of one protocol over train lesions, and how the arms compare."""

    question: StudyQuestion
    protocol: FinetuneProtocol
    settings: LabelEfficiency
    points: tuple[LearningCurvePoint, ...]
    comparisons: tuple[CurveComparison, ...]
    lesions: tuple[int, ...]
    """(P,) in each subset; the last is all train lesions."""
    test_images: int
    test_lesions: int
    fingerprints: dict[str, dict[str, str]]
    encoders: dict[str, dict[str, str]]
    """Hash of each arm's encoder, by seed and share."""
    architectures: dict[str, str]
    """Of each arm's encoder, in words."""

    @property
    def train_lesions(self) -> int:
        """All of them."""
        return self.lesions[-1]


def assess(
    runs: Sequence[Run], question: StudyQuestion, protocol: FinetuneProtocol, settings: LabelEfficiency
) -> LabelEfficiencyResult:
    """Learning curves and their comparison with the reference.

    Args:
        runs: of one protocol, for each arm of the question, each seed of the settings and each share (1 included), with
            predictions of the test images.
        question: arms, reference, decision rule; its seeds are not used.
        protocol: of all runs.
        settings: shares and seeds.

    Raises:
        DataError: where a run is missing, or arms differ in more than the encoder.
    """
    lesions = _subset_sizes(runs)
    fingerprints = check_conditions(runs)
    images = same_images(runs, "test", question.classes)
    rng = np.random.default_rng(question.seed)
    test = resample(images.labels, images.groups, question.resamples, question.rule.confidence, rng)
    noise = draw_seed_noise(len(settings.seeds), question.resamples, rng)
    reader = _CurveReader({run.id: run for run in runs}, question, protocol, settings, test)
    curves = {name: {arm: reader.curve(arm, metric) for arm in question.arms} for name, metric in METRICS.items()}
    counts = [lesions[share] for share in settings.curve_shares]
    return LabelEfficiencyResult(
        question=question,
        protocol=protocol,
        settings=settings,
        points=_points(curves, question, settings, test, lesions),
        comparisons=tuple(
            compare_curves(
                arm,
                name,
                by_arm[arm],
                by_arm[question.reference],
                shares=np.array(counts) / counts[-1],  # a little off the settings: classes keep two lesions
                test=test,
                noise=noise,
                min_seeds=question.rule.min_seeds,
            )
            for name, by_arm in curves.items()
            for arm in question.challengers
        ),
        lesions=tuple(counts),
        test_images=len(images.labels),
        test_lesions=len(np.unique(images.groups)),
        fingerprints=fingerprints,
        encoders=encoders(runs),
        architectures=architectures(runs),
    )


def _subset_sizes(runs: Sequence[Run]) -> dict[float, int]:
    """Share to the number of train lesions, from the metrics of the runs."""
    found = {run.id.share: int(run.summary["lesions"]) for run in runs if run.id.share < 1}
    totals = {int(run.summary["all_lesions"]) for run in runs if run.id.share < 1}
    if len(totals) != 1:
        raise DataError(
            f"metrics of finetune_subset runs have {sorted(totals)} as the number of all train lesions, expected one "
            "number; repeat: dvc repro -f finetune_subset"
        )
    return {**found, 1.0: totals.pop()}


@dataclass(frozen=True)
class _CurveReader:
    """Learning curves from the predictions of runs."""

    runs: Mapping[RunId, Run]
    question: StudyQuestion
    protocol: FinetuneProtocol
    settings: LabelEfficiency
    test: Resampled

    def curve(self, arm: str, metric: ScalarMetric) -> Array:
        """A metric of one arm, (S, P, C)."""
        seeds, shares = self.settings.seeds, self.settings.curve_shares
        return np.stack([np.stack([self._point(arm, seed, share, metric) for share in shares]) for seed in seeds])

    def _point(self, arm: str, seed: int, share: float, metric: ScalarMetric) -> Array:
        """Of one run, (C,)."""
        name = RunId(arm, self.protocol, seed, share)
        if name not in self.runs:
            raise DataError(
                f"no predictions of {name}, expected for every seed of label_efficiency.seeds (params.yaml) "
                f"{list(self.settings.seeds)} and every share {list(self.settings.curve_shares)}; run: "
                "dvc repro label_efficiency"
            )
        return metric(
            self.test.labels, probabilities(self.runs[name], "test", self.question.classes), self.test.weights
        )


def _points(
    curves: Mapping[str, Mapping[str, Array]],
    question: StudyQuestion,
    settings: LabelEfficiency,
    test: Resampled,
    lesions: Mapping[float, int],
) -> tuple[LearningCurvePoint, ...]:
    """By arm, then by share; `curves` by metric and arm, (S, P, C)."""
    found = []
    for arm in question.arms:
        scores = {name: test.intervals(by_arm[arm], SHARE) for name, by_arm in curves.items()}
        paired = {
            name: test.intervals(by_arm[arm] - by_arm[question.reference], DIFFERENCE)
            for name, by_arm in curves.items()
            if arm != question.reference
        }
        for place, share in enumerate(settings.curve_shares):
            own, other = ({name: values[place] for name, values in each.items()} for each in (scores, paired))
            found.append(LearningCurvePoint(arm, share, lesions[share], own, other))
    return tuple(found)
