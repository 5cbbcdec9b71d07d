"""From the study's runs to its answer: every number of the comparison, computed once and kept as plain data.

Letters: N images, K classes, G groups (lesions or patients), R resamples, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.base.log import Log
from components.base.run_id import FinetuneProtocol
from components.comparison.arm_summary import ArmSummary, summarise_arm
from components.comparison.differences import ArmPair, PairedDifference, compare_with_reference
from components.comparison.measurements import RunMeasurements, measure_run
from components.comparison.overfitting_gap import shared_epochs
from components.comparison.settings import Compare
from components.comparison.verdict import Candidate, Recommendation, recommend
from components.statistics import bootstrap
from components.statistics.question import StudyQuestion
from components.statistics.runs import Images, Run, by_protocol, check_conditions, same_images

FEW_LESIONS = 10
"""Test lesions of a class below which its sensitivity is too uncertain to use."""


@dataclass(frozen=True)
class Comparison:
    """The study's answer."""

    question: StudyQuestion
    settings: Compare
    rows: tuple[ArmSummary, ...]
    """By protocol, then arm."""
    differences: tuple[PairedDifference, ...]
    recommendation: Recommendation
    fingerprints: Mapping[str, Mapping[str, str]]
    """By protocol and seed, equal for all arms."""
    test_images: Mapping[str, int]
    """By class."""
    test_lesions: Mapping[str, int]
    """By class; lesions or patients."""
    groups: int
    """Lesions or patients in test."""
    epochs: Mapping[FinetuneProtocol, int]
    """That all runs of a protocol have: the gap's area is over them."""


def compare_runs(runs: Sequence[Run], question: StudyQuestion, settings: Compare, log: Log) -> Comparison:
    """Compare every arm with the reference; the same runs, question and settings give the same numbers.

    Args:
        runs: every run of the study, ordered by protocol, arm and seed, with curve, summary and metrics.
        question: arms, reference, classes, decision rule, resamples and their seed.
        settings: gives onset and power.
        log: shows progress.

    Raises:
        DataError: where runs are not comparable: other images, other conditions, stale metrics.
    """
    fingerprints = check_conditions(runs)
    test = same_images(runs, "test", question.classes)
    rng = np.random.default_rng(question.seed)
    design = bootstrap.make_design(test.groups, test.labels, question.resamples, rng)
    what = f"runs, {question.resamples} resamples of {len(set(test.groups))} lesions"
    measured = {run.name: measure_run(run, test, design, question.classes) for run in log.track(runs, len(runs), what)}
    groups = by_protocol(runs)
    epochs = {name: shared_epochs([run.curve for arm in arms.values() for run in arm]) for name, arms in groups.items()}
    rows = tuple(
        summarise_arm(
            group,
            [measured[run.name] for run in group],
            design,
            question,
            onset_threshold=settings.onset,
            epochs=epochs[protocol],
        )
        for protocol, arms in groups.items()
        for group in arms.values()
    )
    pairs = [
        _pair(arms[arm], arms[question.reference], measured, epochs[protocol])
        for protocol, arms in groups.items()
        for arm in question.challengers
    ]
    images, lesions = _counts_by_class(test, question.classes)
    return Comparison(
        question=question,
        settings=settings,
        rows=rows,
        differences=compare_with_reference(pairs, test, design, question, settings.power),
        recommendation=recommend([_candidate(row) for row in rows], question),
        fingerprints=fingerprints,
        test_images=images,
        test_lesions=lesions,
        groups=len(set(test.groups)),
        epochs=epochs,
    )


def _pair(
    arm: Sequence[Run], reference: Sequence[Run], measured: Mapping[str, RunMeasurements], epochs: int
) -> ArmPair:
    arm_measured, reference_measured = ([measured[run.name] for run in side] for side in (arm, reference))
    return ArmPair(arm, reference, arm_measured, reference_measured, epochs)


def _candidate(row: ArmSummary) -> Candidate:
    by_run = row.val_balanced_accuracy
    return Candidate(row.name, val=row.val, test=row.test["balanced_accuracy"], run=max(by_run, key=by_run.__getitem__))


def _counts_by_class(test: Images, classes: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Test images, and test lesions or patients, of each class."""
    images = {name: int((test.labels == k).sum()) for k, name in enumerate(classes)}
    lesions = {name: len(set(test.groups[test.labels == k])) for k, name in enumerate(classes)}
    return images, lesions
