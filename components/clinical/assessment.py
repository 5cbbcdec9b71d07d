"""What the models are worth at the bedside: thresholds, triage, abstention, calibration and subgroups of every arm.

Each part stands in its own module; here they get the same test images, the same resamples and what val chose.
Letters: N images, K classes, S seeds, C columns of resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.base.errors import DataError, SettingsError
from components.base.json_data import plain
from components.base.log import Log
from components.clinical import abstention, calibration, decision_curves, operating_points, subgroups
from components.statistics.intervals import Estimate, Interval
from components.statistics.resampled import SHARE, Resampled, Said, resample
from components.statistics.runs import Run, by_protocol, probabilities, same_images
from components.statistics.significance import Tested, correct

Array = npt.NDArray[Any]

HEADLINE = {
    "malignant_auroc": "AUROC, malignant",
    "malignant_sensitivity": "Sensitivity, malignant",
    "brier": "Brier score, scaled",
    "risk_area": "Risk, all coverages",
}
"""Numbers for which arms are compared, lesion by lesion and seed by seed."""


@dataclass(frozen=True)
class ClinicalPlan:
    """What the clinic wants to know; arms, seeds and resamples are the study's."""

    arms: tuple[str, ...]
    reference: str
    classes: tuple[str, ...]
    malignant: tuple[str, ...] | None  # classes; None: not known, and malignancy is left out
    severity: Mapping[str, tuple[str, ...]] | None  # level to classes, from least to most severe; None: no triage
    costs: tuple[tuple[float, ...], ...] | None  # of one image: rows the truth, columns the decision
    levels: tuple[float, ...]  # of specificity and sensitivity that val fixes
    thresholds: tuple[float, ...]  # probabilities of malignancy at which a person would act
    answered: float  # share of images that a model with the right to abstain answers
    miss: float  # share of lesions whose conformal set may lack the truth
    bins: int
    ages: tuple[int, ...]  # edges of the age bands, years
    least_groups: int  # lesions below which a subgroup shows no number
    confidence: float
    resamples: int
    seed: int

    def __post_init__(self) -> None:
        """Classes that are named must exist, severity must hold each once, costs must fit it."""
        _check_names(self.malignant, self.classes)
        _check_severity(self.severity, self.costs, self.classes)


@dataclass(frozen=True)
class Sheet:
    """One arm under one protocol."""

    arm: str
    protocol: str
    calibration: calibration.Calibration
    operating: tuple[operating_points.Operating, ...]  # malignant against benign first, then each malignant class
    benefit: decision_curves.Curve | None
    triage: decision_curves.Triage | None
    selective: abstention.Selective
    sets: tuple[abstention.Sets, ...]
    subgroups: subgroups.Subgroups | None
    headline: Mapping[str, Interval]  # HEADLINE, as far as known
    differences: Mapping[str, Interval]  # minus the reference's; empty for the reference
    tests: Mapping[str, Tested]  # of: the difference is zero; Holm over all arms and protocols, measure by measure

    @property
    def name(self) -> str:
        """`<arm>-<protocol>`."""
        return f"{self.arm}-{self.protocol}"


@dataclass(frozen=True)
class Clinical:
    """The whole section, as plain data."""

    plan: ClinicalPlan
    sheets: tuple[Sheet, ...]


@dataclass(frozen=True)
class _Case:
    """One arm's seeds: what val may choose with, and what test measures."""

    val: Said
    test: Said
    temperatures: Array  # (S,)
    scaled: list[Array]  # test probabilities at the seed's temperature
    turns: abstention.Turns


def assess(runs: Sequence[Run], plan: ClinicalPlan, table: pd.DataFrame | None, log: Log) -> Clinical:
    """Everything of `runs`; `table` is subgroups.describe of the test images in the order of their names."""
    test = same_images(runs, "test", plan.classes)
    if table is not None and len(table) != len(test.names):
        raise DataError(f"subgroups: {len(table)} rows for {len(test.names)} test images; repeat: dvc repro evaluate")
    rng = np.random.default_rng(plan.seed)
    sample = resample(test.labels, test.groups, plan.resamples, plan.confidence, rng)
    sheets: list[Sheet] = []
    found: dict[str, dict[str, Estimate]] = {}
    for protocol, arms in by_protocol(runs).items():
        cases = {arm: _case(group, plan, sample) for arm, group in arms.items()}
        values = {arm: _headline(case, sample, plan) for arm, case in cases.items()}
        for arm, case in log.track(cases.items(), len(cases), f"arms at the bedside, {protocol}"):
            sheets.append(_sheet((arm, protocol), case, sample, plan, table, values[arm]))
            if arm != plan.reference:
                found[sheets[-1].name] = _differences(values[arm], values[plan.reference], sample)
    return Clinical(plan, _compared(sheets, found, plan.confidence))


def _differences(own: Mapping[str, Array], theirs: Mapping[str, Array], sample: Resampled) -> dict[str, Estimate]:
    """Paired: the same seeds and the same resampled lesions on both sides."""
    return {name: sample.estimate(own[name] - theirs[name], (-BOUNDS[name][1], BOUNDS[name][1])) for name in own}


def _compared(
    sheets: Sequence[Sheet], found: Mapping[str, Mapping[str, Estimate]], confidence: float
) -> tuple[Sheet, ...]:
    """The sheets with their differences; p-values are corrected once all are known."""
    p_values = [{name: each.p_value() for name, each in differences.items()} for differences in found.values()]
    tests = dict(zip(found, correct(p_values), strict=True))
    intervals = {
        key: {name: each.interval(confidence) for name, each in differences.items()}
        for key, differences in found.items()
    }
    return tuple(
        replace(each, differences=intervals.get(each.name, {}), tests=tests.get(each.name, {})) for each in sheets
    )


def _case(runs: Sequence[Run], plan: ClinicalPlan, sample: Resampled) -> _Case:
    val, test = (_split(runs, name, plan.classes) for name in ("val", "test"))
    temperatures = np.array([calibration.fit_temperature(val.labels, p) for p in val.p])
    return _Case(val, test, temperatures, _scaled(test.p, temperatures), abstention.take_turns(sample, test.p))


def _split(runs: Sequence[Run], name: str, classes: Sequence[str]) -> Said:
    images = same_images(runs, name, classes)
    return Said(images.labels, images.groups, [probabilities(run, name, classes) for run in runs])


def _scaled(p: Sequence[Array], temperatures: Array) -> list[Array]:
    return [calibration.scale(each, t) for each, t in zip(p, temperatures, strict=True)]


def _sheet(
    names: tuple[str, str],
    case: _Case,
    sample: Resampled,
    plan: ClinicalPlan,
    table: pd.DataFrame | None,
    headline: Mapping[str, Array],
) -> Sheet:
    malignant = _mask(plan.malignant or (), plan.classes)
    return Sheet(
        *names,
        calibration.calibrate(sample, case.test.p, case.scaled, case.temperatures, malignant, plan.bins),
        tuple(operating_points.operate(sample, question, plan.levels) for question in _questions(case, plan)),
        _decision(case, sample, plan),
        _triage(case, sample, plan),
        abstention.select(sample, case.val.p, case.test.p, case.turns, plan.answered),
        tuple(_sets(case, sample, plan, by_class) for by_class in (False, True)),
        _subgroups(case, sample, plan, table),
        {name: sample.interval(values, BOUNDS[name]) for name, values in headline.items()},
        differences={},
        tests={},
    )


# --- the parts


def _mask(names: Sequence[str], classes: Sequence[str]) -> Array:
    return np.isin(np.array(classes), np.array(names, dtype=str))  # (K,)


def _question(
    subject: str, names: Sequence[str], case: _Case, plan: ClinicalPlan, scaled: bool
) -> operating_points.Question:
    mask = _mask(names, plan.classes)
    val, test = (np.stack([p[:, mask].sum(1) for p in split.p]) for split in (case.val, case.test))
    if scaled:
        test = np.stack([p[:, mask].sum(1) for p in case.scaled])
    return operating_points.Question(subject, val, mask[case.val.labels], test, mask[case.test.labels])


def _questions(case: _Case, plan: ClinicalPlan) -> list[operating_points.Question]:
    """Malignant against benign, and each malignant class against the rest where there are several."""
    if plan.malignant is None:
        return []
    classes = plan.malignant if len(plan.malignant) > 1 else ()
    named = [("malignant", plan.malignant), *((name, (name,)) for name in classes)]
    return [_question(subject, names, case, plan, scaled=False) for subject, names in named]


def _decision(case: _Case, sample: Resampled, plan: ClinicalPlan) -> decision_curves.Curve | None:
    if plan.malignant is None:
        return None
    question = _question("malignant", plan.malignant, case, plan, scaled=True)
    return decision_curves.decision_curve(sample, question, plan.thresholds)


def _triage(case: _Case, sample: Resampled, plan: ClinicalPlan) -> decision_curves.Triage | None:
    if plan.severity is None or plan.costs is None:
        return None
    return decision_curves.triage(sample, case.scaled, plan.classes, plan.severity, np.array(plan.costs, float))


def _sets(case: _Case, sample: Resampled, plan: ClinicalPlan, by_class: bool) -> abstention.Sets:
    """The same val images for every arm: the draw starts anew."""
    rng = np.random.default_rng(plan.seed)
    return abstention.conformal(sample, case.val, case.test.p, plan.classes, plan.miss, by_class, rng)


def _subgroups(
    case: _Case, sample: Resampled, plan: ClinicalPlan, table: pd.DataFrame | None
) -> subgroups.Subgroups | None:
    if table is None or table.empty:
        return None
    right = np.stack([p.argmax(1) == sample.labels for p in case.test.p])
    malignant = _mask(plan.malignant or (), plan.classes)[sample.labels]
    called = _called(_questions(case, plan)[0], plan) if plan.malignant else None
    answers = subgroups.Answers(right, called, malignant)
    return subgroups.compare_subgroups(sample, answers, table, plan.classes, plan.least_groups)


def _called(question: operating_points.Question, plan: ClinicalPlan) -> Array:
    """(S, N) whether malignant is called at the first level of specificity, by each seed's val threshold."""
    level = plan.levels[0]
    lines = [operating_points.threshold(s, question.val_positive, "specificity", level) for s in question.val_scores]
    return np.asarray(question.scores >= np.array(lines)[:, None])


BOUNDS = {"malignant_auroc": SHARE, "malignant_sensitivity": SHARE, "brier": (0.0, 2.0), "risk_area": SHARE}


def _headline(case: _Case, sample: Resampled, plan: ClinicalPlan) -> dict[str, Array]:
    """HEADLINE by seed and resample, (S, C) each."""
    briers = np.stack([calibration.brier(sample.labels, p, sample.weights) for p in case.scaled])
    found = {"brier": briers, "risk_area": case.turns.areas}
    if plan.malignant is None:
        return found
    question = _questions(case, plan)[0]
    rates = operating_points.rates(_called(question, plan), question.positive, sample.weights)
    sensitivity = rates["sensitivity"]
    return {"malignant_auroc": operating_points.aurocs(sample, question), "malignant_sensitivity": sensitivity, **found}


# --- what the settings must be


def _check_names(malignant: Sequence[str] | None, classes: Sequence[str]) -> None:
    if malignant is None:
        return
    unknown = sorted(set(malignant) - set(classes))
    if unknown or not malignant or set(malignant) == set(classes):
        raise SettingsError(
            f"labels.malignant = {list(malignant)}: expected some, not all, of the classes {list(classes)}, "
            "or null where it is not known (params.yaml)"
        )


def _check_severity(
    severity: Mapping[str, Sequence[str]] | None, costs: Sequence[Sequence[float]] | None, classes: Sequence[str]
) -> None:
    if severity is None or costs is None:
        return
    named = [name for names in severity.values() for name in names]
    if sorted(named) != sorted(classes) or len(severity) < 2:
        raise SettingsError(
            f"clinical.severity names {named}: expected each of {list(classes)} once, in two levels or more, "
            "from least to most severe, or null for no triage (params.yaml)"
        )
    shape = [len(row) for row in costs]
    right = shape == [len(severity)] * len(severity) and min(min(row) for row in costs) >= 0
    if not right or any(row[level] for level, row in enumerate(costs)):
        raise SettingsError(
            f"clinical.costs = {[list(row) for row in costs]}: expected {len(severity)} rows (the truth) of "
            f"{len(severity)} costs (the decision), none below 0, with 0 where both agree (params.yaml)"
        )


# --- as data and as pictures


def as_record(clinical: Clinical) -> dict[str, Any]:
    """JSON-able data: six decimals, null for what is not known."""
    found: dict[str, Any] = plain(asdict(clinical))
    for sheet in found["sheets"]:
        shown = sheet["subgroups"] or {"subgroups": []}
        for each in shown["subgroups"]:
            if each["groups"] < shown["least"]:
                each |= {"images": None, "groups": None, "classes": []}
    return found


def as_metrics(clinical: Clinical) -> dict[str, float]:
    """The few numbers to follow from run to run: `ARM-PROTOCOL/NAME`; what is not known is left out."""
    found: dict[str, float] = {}
    for sheet in clinical.sheets:
        own = {name: interval.mean for name, interval in sheet.headline.items()}
        own |= {"ece_debiased": sheet.calibration.before.errors["debiased"].mean}
        own |= {"conformal_coverage": sheet.sets[0].coverage.mean}
        found |= {f"{sheet.name}/{name}": value for name, value in own.items()}
    return {name: round(value, 6) + 0.0 for name, value in found.items() if np.isfinite(value)}
