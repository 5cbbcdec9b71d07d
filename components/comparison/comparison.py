"""From the study's runs to its answer: every number of the comparison, computed once and kept as plain data.

Letters: N images, K classes, G groups (lesions or patients), R resamples, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.base.log import Log
from components.base.run_id import FinetuneProtocol, model_name
from components.comparison.against_null import AgainstNull, against_null
from components.comparison.arm_summary import ArmSummary, summarise_arm
from components.comparison.baselines import baselines_of, compare_with_baselines
from components.comparison.differences import ArmPair, PairedDifference, compare_with_reference
from components.comparison.lesion_level import LesionLevel, LesionUnits, find_units, measure_lesions
from components.comparison.measurements import RunMeasurements, measure_run
from components.comparison.outcomes import AccuracyRegion
from components.comparison.overfitting_gap import shared_epochs
from components.comparison.pretraining_alarms import pretraining_alarms
from components.comparison.pretraining_draws import PretrainingDraws, pretraining_draws
from components.comparison.rarest_class import RarestClass, plan_rarest_class
from components.comparison.recommendation import Candidate, Recommendation, recommend
from components.comparison.resampled_gap import ResampledGaps, measure_gaps
from components.comparison.settings import Compare
from components.statistics import bootstrap
from components.statistics.bootstrap import Design
from components.statistics.intervals import estimate
from components.statistics.null_model import null_lines
from components.statistics.prior import Priors
from components.statistics.question import StudyQuestion
from components.statistics.resampled import SHARE
from components.statistics.runs import (
    Images,
    Run,
    architectures,
    by_protocol,
    check_conditions,
    encoders,
    same_images,
    split_rows,
)


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
    encoders: Mapping[str, Mapping[str, str]]
    """Hash of each arm's encoder by protocol and seed: what differs by design."""
    architectures: Mapping[str, str]
    """Of each arm's encoder, in words."""
    pretraining: Mapping[str, PretrainingDraws]
    """By arm: whether each seed has weights of its own."""
    test_images: Mapping[str, int]
    """By class."""
    test_lesions: Mapping[str, int]
    """By class, by lesion ids: they add up to `lesion_level.lesions`."""
    known_lesions: int | None
    """Test lesions; None where not every image has the id of a lesion."""
    lesion_level: LesionLevel
    """Figures per lesion, beside those per image that decide."""
    rarest: RarestClass
    groups: int
    """Lesions or patients in test."""
    epochs: Mapping[FinetuneProtocol, int]
    """That all runs of a protocol have: the gap is compared at the last of them, its area is over them."""
    null_lines: Mapping[str, float]
    """Test metrics of a model that gives every image the class frequencies of train."""
    against_null: Mapping[str, AgainstNull]
    """By `ARM-PROTOCOL`; null lines and baselines."""
    baselines: tuple[str, ...]
    """Arms that are baselines."""


def compare_runs(
    runs: Sequence[Run], question: StudyQuestion, settings: Compare, priors: Priors, log: Log
) -> Comparison:
    """Compare every arm with the reference; the same runs, question and settings give the same numbers.

    Args:
        runs: every run of the study, ordered by protocol, arm and seed, with curve, summary and metrics.
        question: arms, reference, classes, decision rule, resamples and their seed.
        settings: gives onset and power.
        priors: class frequencies of train, and those that training gave the models.
        log: shows progress.

    Raises:
        DataError: where runs are not comparable: other images, other conditions, stale metrics.
    """
    question = question.with_resamples_for(question.tests)
    fingerprints = check_conditions(runs)
    test = same_images(runs, "test", question.classes)
    units = find_units(split_rows(runs[0], "test", question.classes)["lesion_id"].tolist(), test)
    images, lesions, groups_of_class = _counts_by_class(test, units, question.classes)
    rng = np.random.default_rng(question.seed)
    design = bootstrap.make_design(test.groups, test.labels, question.resamples, rng)
    what = f"runs, {question.resamples} resamples of {len(set(test.groups))} lesions"
    measured = {
        run.name: measure_run(run, test, design, question.classes, priors) for run in log.track(runs, len(runs), what)
    }
    groups = by_protocol(runs)
    epochs = {name: shared_epochs([run.curve for arm in arms.values() for run in arm]) for name, arms in groups.items()}
    resampled_gaps = ResampledGaps.of(runs, question)
    gaps = measure_gaps(runs, epochs, resampled_gaps, log)
    rows = tuple(
        summarise_arm(
            group,
            [measured[run.name] for run in group],
            design,
            question,
            groups=groups_of_class,
            gaps=[gaps[run.name] for run in group],
            resampled_gaps=resampled_gaps,
            onset_threshold=settings.onset,
        )
        for arms in groups.values()
        for group in arms.values()
    )
    lines = null_lines(test.labels, priors.frequencies)
    against = compare_with_baselines(groups, measured, design, question)
    alarms = pretraining_alarms(runs)
    standing = {row.name: against_null(row.test, lines, against[row.name], alarms[row.arm]) for row in rows}
    pairs = [
        ArmPair(
            arm=arms[arm],
            reference=arms[question.reference],
            arm_measured=[measured[run.name] for run in arms[arm]],
            reference_measured=[measured[run.name] for run in arms[question.reference]],
            arm_null=standing[model_name(arm, protocol)],
            reference_null=standing[model_name(question.reference, protocol)],
            arm_gaps=[gaps[run.name] for run in arms[arm]],
            reference_gaps=[gaps[run.name] for run in arms[question.reference]],
            resampled_gaps=resampled_gaps,
            epochs=epochs[protocol],
        )
        for protocol, arms in groups.items()
        for arm in question.challengers
    ]
    differences = compare_with_reference(pairs, test, design, question, settings.power)
    inferior = inferior_arms(differences, question.reference)
    baselines = baselines_of(runs)
    candidates = [
        _candidate(
            row,
            measured,
            design,
            question,
            inferior_to=inferior.get(row.name, ""),
            standing=standing[row.name],
            is_baseline=row.arm in baselines,
        )
        for row in rows
    ]
    return Comparison(
        question=question,
        settings=settings,
        rows=rows,
        differences=differences,
        recommendation=recommend(candidates, question, lesions),
        fingerprints=fingerprints,
        encoders=encoders(runs),
        architectures=architectures(runs),
        pretraining=pretraining_draws(runs),
        test_images=images,
        test_lesions=lesions,
        known_lesions=len(units.first) if question.lesions_known else None,
        lesion_level=measure_lesions(runs, units, test, design, question, priors),
        rarest=plan_rarest_class(lesions, question.rule.confidence),
        groups=len(set(test.groups)),
        epochs=epochs,
        null_lines=lines,
        against_null=standing,
        baselines=baselines,
    )


def inferior_arms(differences: Sequence[PairedDifference], reference: str) -> dict[str, str]:
    """By `ARM-PROTOCOL` of an arm that a verdict calls inferior: the other arm of that verdict.

    A reference is inferior where a verdict calls another arm superior to it.
    """
    found: dict[str, str] = {}
    for each in differences:
        if each.verdict.outcome.accuracy is AccuracyRegion.INFERIOR:
            found[each.name] = reference
        elif each.verdict.outcome.accuracy is AccuracyRegion.SUPERIOR:
            found.setdefault(model_name(reference, each.protocol), each.arm)
    return found


def _candidate(
    row: ArmSummary,
    measured: Mapping[str, RunMeasurements],
    design: Design,
    question: StudyQuestion,
    *,
    inferior_to: str,
    standing: AgainstNull,
    is_baseline: bool,
) -> Candidate:
    """The arm with the run that is best on val; that run's test figure has an interval over lesions."""
    confidence = question.rule.confidence
    by_run = row.val_balanced_accuracy
    run = max(by_run, key=by_run.__getitem__)
    test = estimate([measured[run].samples["balanced_accuracy"]], design.strata, SHARE)
    return Candidate(
        name=row.name,
        val=row.val,
        run=run,
        test=test.interval(confidence),
        inferior_to=inferior_to,
        warning=f"{row.arm} is itself a baseline" if is_baseline else standing.about_baselines(row.arm, confidence),
        below=next((each.baseline for each in standing.baselines if each.surely_below), ""),
    )


def _counts_by_class(test: Images, units: LesionUnits, classes: Sequence[str]) -> list[dict[str, int]]:
    """Test images, test lesions, and groups with an image, of each class.

    A patient with lesions of two classes is a group of both, so that groups may add up to more than there are.
    """
    labels, groups = test.labels[units.first], [len(set(test.groups[test.labels == k])) for k in range(len(classes))]
    counts = [np.bincount(each, minlength=len(classes)).tolist() for each in (test.labels, labels)]
    return [dict(zip(classes, each, strict=True)) for each in (*counts, groups)]
