"""The clinical assessment of every arm: calibration, operating points, decision curves, triage, abstention, subgroups.

Each part has its own module; here they get the same test images, the same resamples, and what val chose.

Two kinds of probabilities are used. Balanced decisions (which class is most probable; abstention; subgroups' accuracy)
take them as trained, where weighting or sampling made all classes equally frequent. Everything that speaks of
probabilities (calibration, thresholds, net benefit, triage, conformal sets) takes them with the class frequencies of
the train images restored by Bayes' rule; net benefit, triage and calibration also scale them by a temperature that val
chose. Where clinical.deployment is set, the scaled ones are also moved to the class frequencies of a clinic.
Letters: N images, K classes, S seeds, C columns of resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.base.errors import DataError
from components.base.log import Log
from components.base.run_id import FinetuneProtocol, model_name
from components.clinical.abstention import (
    RiskCoverage,
    SelectivePrediction,
    assess_abstention,
    measure_risk_coverage,
)
from components.clinical.calibration import BRIER_RANGE, Calibration, brier, calibrate, fit_temperature, scale
from components.clinical.conformal import ConformalSets, conformal
from components.clinical.decision_curves import DecisionCurve, decision_curve
from components.clinical.deployment import DeploymentAssessment, assess_deployment, deployment_prior
from components.clinical.operating_points import (
    BinaryTask,
    OperatingPoints,
    aurocs,
    measure_operating_points,
    rates,
    threshold,
)
from components.clinical.settings import Clinical
from components.clinical.subgroups import SubgroupAnswers, Subgroups, compare_subgroups
from components.clinical.triage import Triage, triage
from components.data.labels import Labels
from components.report.wording import about_smallest_p
from components.statistics.intervals import Estimate, Interval
from components.statistics.null_model import null_lines
from components.statistics.prior import Priors
from components.statistics.question import StudyQuestion
from components.statistics.resampled import SHARE, Resampled, SeedPredictions, resample
from components.statistics.runs import Run, by_protocol, probabilities, same_images
from components.statistics.significance import AdjustedP, holm_by_question

Array = npt.NDArray[Any]

HEADLINE = {
    "malignant_auroc": "AUROC, malignant",
    "malignant_sensitivity": "Sensitivity, malignant",
    "brier": "Brier score, scaled",
    "risk_area": "Risk, all coverages",
}
"""Numbers in which arms are compared, lesion by lesion and seed by seed."""

BOUNDS = {"malignant_auroc": SHARE, "malignant_sensitivity": SHARE, "brier": BRIER_RANGE, "risk_area": SHARE}


@dataclass(frozen=True)
class ClinicalTask:
    """What is assessed: the study's question, the settings, and what the settings' diagnoses mean in its classes."""

    question: StudyQuestion
    settings: Clinical
    calibration_bins: int
    malignant: tuple[str, ...] | None
    """Classes; None: not known, and everything about malignancy is left out."""
    severity: Mapping[str, tuple[str, ...]] | None
    """Level -> classes, from least to most severe; None: no triage."""
    priors: Priors
    deployment: Array | None = None
    """(K,) class frequencies where a model would be used; None: not known."""

    @property
    def costs(self) -> tuple[tuple[float, ...], ...] | None:
        """Of one image: rows the true level, columns the decided one; None: no triage."""
        return self.settings.costs if self.severity else None

    @property
    def is_malignant(self) -> Array:
        """(K,) bool, True for malignant classes."""
        return np.isin(np.array(self.question.classes), np.array(self.malignant or (), dtype=str))


def clinical_task(
    question: StudyQuestion, settings: Clinical, labels: Labels, priors: Priors, calibration_bins: int
) -> ClinicalTask:
    """The task of these settings for the classes of `labels`; `calibration_bins` is a number of bins.

    Raises:
        DataError: where `clinical.deployment` expects a class that no train image shows.
    """
    malignant, severity = settings.malignant_classes(labels), settings.severity_of_classes(labels)
    task = ClinicalTask(question, settings, calibration_bins, malignant, severity, priors)
    wanted = settings.deployment_of_classes(labels)
    if wanted is None:
        return task
    prior = deployment_prior(wanted, question.classes, task.is_malignant, priors.frequencies)
    return replace(task, deployment=prior)


@dataclass(frozen=True)
class ModelAssessment:
    """One arm under one protocol."""

    arm: str
    protocol: FinetuneProtocol
    calibration: Calibration
    operating: tuple[OperatingPoints, ...]
    """Malignant against benign first, then each malignant class against the rest."""
    benefit: DecisionCurve | None
    triage: Triage | None
    selective: SelectivePrediction
    sets: tuple[ConformalSets, ...]
    deployment: DeploymentAssessment | None
    """None where no class is malignant, or the class frequencies of the deployment are not known."""
    subgroups: Subgroups | None
    headline: Mapping[str, Interval]
    """HEADLINE, as far as known."""
    differences: Mapping[str, Interval]
    """HEADLINE minus the reference's; empty for the reference."""
    tests: Mapping[str, AdjustedP]
    """Of: the difference is zero; Holm over all arms and protocols, number by number. Empty with fewer seeds than
    compare.min_seeds, with which nothing is decided."""

    @property
    def name(self) -> str:
        """`ARM-PROTOCOL`."""
        return model_name(self.arm, self.protocol)


@dataclass(frozen=True)
class ClinicalAssessment:
    """The assessment of all arms, as plain data."""

    task: ClinicalTask
    models: tuple[ModelAssessment, ...]
    null_lines: Mapping[str, float]
    """`log_loss` and `brier` of the class frequencies of train alone, on the same test images."""

    @property
    def about_smallest_p(self) -> str:
        """The smallest p-value that a difference of a clinical measure can have."""
        question = self.task.question
        return about_smallest_p(question, question.comparisons, "comparisons of each clinical measure")


@dataclass(frozen=True)
class _ArmPredictions:
    """One arm's seeds: what val chooses with, and what test measures."""

    val: SeedPredictions
    """As trained."""
    test: SeedPredictions
    """As trained: their highest class is the balanced decision."""
    restored_val: SeedPredictions
    """With the class frequencies of the train images."""
    restored: SeedPredictions
    """The same of test."""
    temperatures: Array  # (S,)
    scaled: list[Array]  # (N, K) restored test probabilities a seed, at the seed's temperature
    curves: RiskCoverage


def assess(runs: Sequence[Run], task: ClinicalTask, attributes: pd.DataFrame | None, log: Log) -> ClinicalAssessment:
    """Assess every arm under every protocol.

    Args:
        runs: every run of the study with its predictions on val and test, ordered by protocol, arm and seed.
        task: what is assessed.
        attributes: `attributes.describe` of the test images, in the order of their names; None: no subgroups.
        log: shows progress.

    Raises:
        DataError: where runs predicted different images, or `attributes` are of other images.
    """
    question = task.question.with_resamples_for(task.question.tests)  # as many as `compare` has
    task = replace(task, question=question)
    test = same_images(runs, "test", question.classes)
    if attributes is not None and len(attributes) != len(test.names):
        raise DataError(
            f"subgroups: {len(attributes)} rows for {len(test.names)} test images; repeat: dvc repro evaluate"
        )
    rng = np.random.default_rng(question.seed)
    sample = resample(test.labels, test.groups, question.resamples, question.rule.confidence, rng)
    one_stratum = resample(np.zeros_like(test.labels), test.groups, question.resamples, question.rule.confidence, rng)
    free = replace(sample, design=one_stratum.design)
    models: list[ModelAssessment] = []
    differences: dict[str, dict[str, Estimate]] = {}
    for protocol, arms in by_protocol(runs).items():
        predictions = {arm: _predictions(group, task, sample) for arm, group in arms.items()}
        values = {arm: _headline(each, sample, task) for arm, each in predictions.items()}
        for arm, each in log.track(predictions.items(), len(predictions), f"clinical assessment, {protocol}"):
            model = _assess_model(
                arm, protocol, each, sample, task, free=free, attributes=attributes, headline=values[arm]
            )
            models.append(model)
            if arm != question.reference:
                differences[model.name] = _differences(values[arm], values[question.reference], sample)
    lines = null_lines(test.labels, task.priors.frequencies)
    return ClinicalAssessment(
        task,
        _with_differences(models, differences, question),
        {name: lines[name] for name in ("log_loss", "brier")},
    )


def _differences(own: Mapping[str, Array], reference: Mapping[str, Array], sample: Resampled) -> dict[str, Estimate]:
    """Paired: the same seeds and the same resampled lesions on both sides."""
    return {name: sample.estimate(own[name] - reference[name], (-BOUNDS[name][1], BOUNDS[name][1])) for name in own}


def _with_differences(
    models: Sequence[ModelAssessment], found: Mapping[str, Mapping[str, Estimate]], question: StudyQuestion
) -> tuple[ModelAssessment, ...]:
    """The models with their differences; p-values, with enough seeds for any, are corrected over all of them."""
    confidence = question.rule.confidence
    tests: dict[str, dict[str, AdjustedP]] = {}
    if len(question.seeds) >= question.rule.min_seeds:
        p_values = [{name: each.p_value() for name, each in differences.items()} for differences in found.values()]
        tests = dict(zip(found, holm_by_question(p_values), strict=True))
    intervals = {
        key: {name: each.interval(confidence) for name, each in differences.items()}
        for key, differences in found.items()
    }
    return tuple(
        replace(each, differences=intervals.get(each.name, {}), tests=tests.get(each.name, {})) for each in models
    )


def _predictions(runs: Sequence[Run], task: ClinicalTask, sample: Resampled) -> _ArmPredictions:
    val, test = (_split(runs, name, task.question.classes) for name in ("val", "test"))
    restored_val, restored = (replace(each, p=[task.priors.restore(p) for p in each.p]) for each in (val, test))
    temperatures = np.array([fit_temperature(val.labels, p) for p in restored_val.p])
    scaled = [scale(p, temperature) for p, temperature in zip(restored.p, temperatures, strict=True)]
    curves = measure_risk_coverage(sample, test.p)
    return _ArmPredictions(val, test, restored_val, restored, temperatures, scaled, curves)


def _split(runs: Sequence[Run], name: str, classes: Sequence[str]) -> SeedPredictions:
    images = same_images(runs, name, classes)
    return SeedPredictions(images.labels, images.groups, [probabilities(run, name, classes) for run in runs])


def _assess_model(
    arm: str,
    protocol: FinetuneProtocol,
    predictions: _ArmPredictions,
    sample: Resampled,
    task: ClinicalTask,
    *,
    free: Resampled,
    attributes: pd.DataFrame | None,
    headline: Mapping[str, Array],
) -> ModelAssessment:
    settings, val, test = task.settings, predictions.val.p, predictions.test.p
    return ModelAssessment(
        arm=arm,
        protocol=protocol,
        calibration=calibrate(
            sample,
            free,
            test,
            predictions.restored.p,
            predictions.scaled,
            temperatures=predictions.temperatures,
            classes=task.question.classes,
            malignant=task.is_malignant,
            bins=task.calibration_bins,
        ),
        operating=tuple(
            measure_operating_points(sample, each, settings.levels) for each in _binary_tasks(predictions, task)
        ),
        benefit=_benefit(predictions, sample, task),
        triage=_triage(predictions, sample, task),
        selective=assess_abstention(sample, val, test, predictions.curves, settings.answered),
        sets=tuple(_sets(predictions, sample, task, by_class) for by_class in (False, True)),
        deployment=_deployment(predictions, sample, task),
        subgroups=_subgroups(predictions, sample, task, attributes),
        headline={name: sample.interval(values, BOUNDS[name]) for name, values in headline.items()},
        differences={},
        tests={},
    )


# --- the parts


def _binary_task(
    subject: str, names: Sequence[str], predictions: _ArmPredictions, task: ClinicalTask, *, scaled: bool
) -> BinaryTask:
    """The classes `names` against all others, class frequencies restored; on test scaled or not."""
    positive = np.isin(np.array(task.question.classes), np.array(names, dtype=str))  # (K,)
    test_p = predictions.scaled if scaled else predictions.restored.p
    val, test = (np.stack([p[:, positive].sum(1) for p in split]) for split in (predictions.restored_val.p, test_p))
    return BinaryTask(subject, val, positive[predictions.val.labels], test, positive[predictions.test.labels])


def _binary_tasks(predictions: _ArmPredictions, task: ClinicalTask) -> list[BinaryTask]:
    """Malignant against benign, and each malignant class against the rest where there are several."""
    if task.malignant is None:
        return []
    single = task.malignant if len(task.malignant) > 1 else ()
    named = [("malignant", task.malignant), *((name, (name,)) for name in single)]
    return [_binary_task(subject, names, predictions, task, scaled=False) for subject, names in named]


def _benefit(predictions: _ArmPredictions, sample: Resampled, task: ClinicalTask) -> DecisionCurve | None:
    if task.malignant is None:
        return None
    binary = _binary_task("malignant", task.malignant, predictions, task, scaled=True)
    return decision_curve(sample, binary, task.settings.thresholds)


def _deployment(predictions: _ArmPredictions, sample: Resampled, task: ClinicalTask) -> DeploymentAssessment | None:
    if task.deployment is None or task.malignant is None:
        return None
    return assess_deployment(
        sample,
        _binary_tasks(predictions, task)[0],
        predictions.scaled,
        malignant=task.is_malignant,
        trained=task.priors.frequencies,
        deployed=task.deployment,
        levels=task.settings.levels,
        net_benefit_at=task.settings.thresholds,
        bins=task.calibration_bins,
    )


def _triage(predictions: _ArmPredictions, sample: Resampled, task: ClinicalTask) -> Triage | None:
    if task.severity is None or task.costs is None:
        return None
    return triage(
        sample,
        predictions.scaled,
        classes=task.question.classes,
        severity=task.severity,
        costs=np.array(task.costs, float),
    )


def _sets(predictions: _ArmPredictions, sample: Resampled, task: ClinicalTask, by_class: bool) -> ConformalSets:
    return conformal(
        sample,
        predictions.restored_val,
        predictions.restored.p,
        classes=task.question.classes,
        miss=task.settings.miss,
        by_class=by_class,
        rng=np.random.default_rng(task.question.seed),  # a new generator: the same val images for every arm
    )


def _subgroups(
    predictions: _ArmPredictions, sample: Resampled, task: ClinicalTask, attributes: pd.DataFrame | None
) -> Subgroups | None:
    if attributes is None or attributes.empty:
        return None
    right = np.stack([p.argmax(1) == sample.labels for p in predictions.test.p])
    called = _called_malignant(_binary_tasks(predictions, task)[0], task) if task.malignant else None
    answers = SubgroupAnswers(right, called, task.is_malignant[sample.labels])
    return compare_subgroups(sample, answers, attributes, task.question.classes, task.settings.least_groups)


def _called_malignant(binary: BinaryTask, task: ClinicalTask) -> Array:
    """(S, N) bool, True where a seed's threshold on val, at the first level of specificity, calls it malignant."""
    level = task.settings.levels[0]
    thresholds = [threshold(scores, binary.val_positive, "specificity", level) for scores in binary.val_scores]
    return np.asarray(binary.scores >= np.array(thresholds)[:, None])


def _headline(predictions: _ArmPredictions, sample: Resampled, task: ClinicalTask) -> dict[str, Array]:
    """HEADLINE by seed and resample, (S, C) each."""
    briers = np.stack([brier(sample.labels, p, sample.weights) for p in predictions.scaled])
    found = {"brier": briers, "risk_area": predictions.curves.areas}
    if task.malignant is None:
        return found
    binary = _binary_tasks(predictions, task)[0]
    measured = rates(_called_malignant(binary, task), binary.positive, sample.weights)
    return {
        "malignant_auroc": aurocs(sample, binary),
        "malignant_sensitivity": measured["sensitivity"],
        **found,
    }
