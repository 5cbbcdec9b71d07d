"""External validation: every arm on an external test set and on the internal test, over the classes that both have.

No model is trained, chosen or fitted on external images: thresholds and temperatures are those of val.
Letters: N images, K classes, G lesions, S seeds, C columns of resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from components.base.log import Log
from components.base.run_id import FinetuneProtocol
from components.clinical import calibration, operating_points
from components.clinical.calibration_line import calibration_line
from components.clinical.debiased_error import debiased_squared_errors
from components.external_validation.claims import make_claims
from components.external_validation.found_lesions import Answered, found_lesions
from components.external_validation.label_map import LabelMap
from components.external_validation.results import (
    EXTERNAL,
    LEADING,
    MEASURES,
    ArmOrder,
    ExternalChange,
    ExternalMeasure,
    ExternalModel,
    ExternalSetup,
    ExternalValidationResult,
)
from components.statistics.bootstrap import Sample
from components.statistics.intervals import Estimate, Interval, estimate
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.log_loss import log_loss
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.metrics.sensitivity import sensitivity
from components.statistics.prior import change_prior, class_frequencies
from components.statistics.question import StudyQuestion
from components.statistics.resampled import ANY, SHARE, Resampled, SeedPredictions, resample
from components.statistics.runs import Run, by_protocol, probabilities, same_images, split_rows
from components.statistics.significance import AdjustedP, holm_by_key
from components.statistics.two_sets import joint_strata, set_difference
from components.statistics.weighting import Array

COMPARED = {
    "balanced_accuracy": balanced_accuracy,
    "macro_auroc": macro_auroc,
    "accuracy": accuracy,
    "log_loss": log_loss,
}
"""Metrics that are measures without further choices."""

CALIBRATION = {
    "calibration_intercept": ExternalMeasure("Calibration intercept, malignant", ANY, share=False),
    "calibration_slope": ExternalMeasure("Calibration slope, malignant", ANY, share=False),
    "calibration_intercept_known": ExternalMeasure(
        "Calibration intercept, malignant, if the set's class frequencies were known", ANY, share=False
    ),
    "calibration_slope_known": ExternalMeasure(
        "Calibration slope, malignant, if the set's class frequencies were known", ANY, share=False
    ),
}
"""Of the scaled probability of malignancy: for the class frequencies of train, and moved to each set's own."""

Model = tuple[str, FinetuneProtocol]
"""Arm and protocol."""


def assess(
    runs: Sequence[Run], labels: LabelMap, question: StudyQuestion, setup: ExternalSetup, log: Log
) -> ExternalValidationResult:
    """The whole analysis of one external test set.

    Args:
        runs: of the study, with predictions of val, test and EXTERNAL images.
        labels: how the diagnoses of the external set are read.
        question: what is compared, and the decision rule.
        setup: what is fixed beforehand.
        log: shows progress.
    """
    question = question.with_resamples_for(question.tests)  # as many as `compare` has; not fewer than models
    analysis = _Analysis(question, setup, labels, _list_measures(setup, labels))
    sets = [analysis.resample_set(runs, split, stream) for stream, split in enumerate(("test", EXTERNAL))]
    groups = by_protocol(runs)
    measured: dict[Model, _ModelSamples] = {}
    for protocol, arms in groups.items():
        for arm, group in log.track(arms.items(), len(arms), f"arms on {setup.cohort}, {protocol}"):
            measured[arm, protocol] = analysis.measure(analysis.fit_on_val(group), sets)
    models = _correct([analysis.describe(*model, measured) for model in measured])
    orders = tuple(analysis.rank(protocol, tuple(arms), measured) for protocol, arms in groups.items())
    lesions = {name: len(set(each.sample.groups)) for name, each in zip(("internal", "external"), sets, strict=True)}
    claims = make_claims(models, orders, question, setup.cohort)
    return ExternalValidationResult(
        question=question,
        setup=setup,
        labels=labels,
        lesions=lesions,
        measures=analysis.measures,
        models=models,
        orders=orders,
        claims=claims,
    )


def _list_measures(setup: ExternalSetup, labels: LabelMap) -> dict[str, ExternalMeasure]:
    """Every measure by name, in the order of the page."""
    by_class = {f"sensitivity.{name}": ExternalMeasure(f"Sensitivity, {name}", SHARE) for name in labels.compared}
    return {**MEASURES, **_malignant_measures(setup, labels), **by_class}


def _malignant_measures(setup: ExternalSetup, labels: LabelMap) -> dict[str, ExternalMeasure]:
    """AUROC and both rates at each threshold, if malignant and benign classes are compared."""
    malignant = set(setup.malignant or ()) & set(labels.compared)
    if not malignant or malignant == set(labels.compared):
        return {}
    found = {"malignant_auroc": ExternalMeasure("AUROC, malignant", SHARE, share=False)}
    for fixed, level in _operating_levels(setup):
        for rate in ("sensitivity", "specificity"):
            title = f"{rate.capitalize()}, malignant, where val has {100 * level:g} % {fixed}"
            found[_rate_name(rate, fixed, level)] = ExternalMeasure(title, SHARE)
    return found | CALIBRATION


def _operating_levels(setup: ExternalSetup) -> list[tuple[str, float]]:
    return [(fixed, level) for fixed in ("specificity", "sensitivity") for level in setup.levels]


def _rate_name(rate: str, fixed: str, level: float) -> str:
    return f"{rate}_at_{fixed}_{level:g}"


@dataclass(frozen=True)
class _TestSet:
    """The images of the compared classes of one test set."""

    split: str
    """test or external."""
    kept: Array
    """(N,) bool over all images of the split, True where the class is compared."""
    sample: Resampled
    lesions: Array
    """(N,) ids of the lesions of `sample`."""


@dataclass(frozen=True)
class _FittedRuns:
    """One arm's seeds with what was fitted on val."""

    runs: Sequence[Run]
    val: SeedPredictions
    temperatures: Array  # (S,)


@dataclass(frozen=True)
class _ModelSamples:
    """One arm's seeds by measure on both test sets."""

    sets: Mapping[str, tuple[list[Sample], list[Sample]]]
    """Measure to samples, one a seed: internal, external."""
    strata: tuple[Array, Array]
    joint: Array
    """Strata of the difference."""
    seeds: int
    temperatures: tuple[float, ...]
    trials: Mapping[str, tuple[int, int]]
    """Of measures that are a share of lesions or patients: how many each set has."""
    found: Mapping[str, Mapping[str, Interval]]
    """As `ExternalModel.found`."""

    def estimate(self, name: str, place: int, bounds: tuple[float, float]) -> Estimate:
        """A measure's mean over seeds on one set: 0 internal, 1 external."""
        trials = self.trials[name][place] if name in self.trials else None
        return estimate(self.sets[name][place], self.strata[place], bounds, trials)

    def drops(self, name: str) -> list[Sample]:
        """External minus internal of each seed."""
        internal, external = self.sets[name]
        return [set_difference(there, here) for there, here in zip(external, internal, strict=True)]

    def drop(self, name: str, bounds: tuple[float, float]) -> Estimate:
        """Its mean over seeds."""
        return estimate(self.drops(name), self.joint, bounds)

    def drop_difference(self, other: _ModelSamples, name: str, bounds: tuple[float, float]) -> Estimate:
        """Its drop minus that of another model, paired: the same lesions and seeds in both."""
        pairs = zip(self.drops(name), other.drops(name), strict=True)
        return estimate([mine - theirs for mine, theirs in pairs], self.joint, bounds)

    def difference(self, other: _ModelSamples, name: str, place: int) -> Estimate:
        """A measure minus that of another model on one set, paired."""
        pairs = zip(self.sets[name][place], other.sets[name][place], strict=True)
        return estimate([mine - theirs for mine, theirs in pairs], self.strata[place])


@dataclass(frozen=True)
class _Analysis:
    """What is the same for all models."""

    question: StudyQuestion
    setup: ExternalSetup
    labels: LabelMap
    measures: Mapping[str, ExternalMeasure]

    def resample_set(self, runs: Sequence[Run], split: str, stream: int) -> _TestSet:
        """Each set has random numbers of its own: equal draws would correlate the sets. The test's are `compare`'s."""
        question = self.question
        images = same_images(runs, split, question.classes)
        kept = np.isin(images.labels, [question.classes.index(name) for name in self.labels.compared])
        rng = np.random.default_rng([question.seed, stream] if stream else question.seed)
        sample = resample(images.labels[kept], images.groups[kept], question.resamples, question.rule.confidence, rng)
        lesions = split_rows(runs[0], split, question.classes)["lesion_id"].to_numpy(str)
        return _TestSet(split, kept, sample, lesions[kept])

    def fit_on_val(self, runs: Sequence[Run]) -> _FittedRuns:
        """Temperatures of one arm's seeds, for probabilities with the class frequencies of the train images."""
        val = same_images(runs, "val", self.question.classes)
        restore = self.setup.priors.restore
        p = [restore(probabilities(run, "val", self.question.classes)) for run in runs]
        temperatures = np.array([calibration.fit_temperature(val.labels, each) for each in p])
        return _FittedRuns(runs, SeedPredictions(val.labels, val.groups, p), temperatures)

    def measure(self, fitted: _FittedRuns, sets: Sequence[_TestSet]) -> _ModelSamples:
        """Every measure of one arm's seeds on both sets."""
        internal, external = (self._values(each, fitted) for each in sets)
        here, there = (each.sample.design for each in sets)
        samples = {
            name: ([here.split(row) for row in internal[name]], [there.split(row) for row in external[name]])
            for name in self.measures
        }
        return _ModelSamples(
            samples,
            strata=(here.strata, there.strata),
            joint=joint_strata(there.strata, here.strata),
            seeds=len(fitted.runs),
            temperatures=tuple(fitted.temperatures.tolist()),
            trials=self._trials(*(each.sample for each in sets)),
            found=self._found(sets[1], fitted),
        )

    def _trials(self, *sets: Resampled) -> dict[str, tuple[int, int]]:
        """The lesions or patients that each share is of, internal and external."""
        classes, malignant = self.question.classes, self._is_malignant
        marked = {f"sensitivity.{name}": np.array(classes) == name for name in self.labels.compared}
        for fixed, level in _operating_levels(self.setup):
            marked[_rate_name("sensitivity", fixed, level)] = malignant
            marked[_rate_name("specificity", fixed, level)] = ~malignant
        marked["accuracy"] = np.ones(len(classes), bool)
        counts = {name: [each.count_groups(mask[each.labels]) for each in sets] for name, mask in marked.items()}
        return {name: (internal, external) for name, (internal, external) in counts.items()}

    def _found(self, test: _TestSet, fitted: _FittedRuns) -> dict[str, dict[str, Interval]]:
        """By run and operating point."""
        if "malignant_auroc" not in self.measures:
            return {}
        classes, restore = self.question.classes, self.setup.priors.restore
        found = {}
        for run, on_val in zip(fitted.runs, fitted.val.p, strict=True):
            p = probabilities(run, test.split, classes)[test.kept]
            found[run.name] = found_lesions(
                test.sample,
                test.lesions,
                Answered(p, restore(p)),
                Answered(probabilities(run, "val", classes), on_val),
                fitted.val.labels,
                self._is_malignant,
                _operating_levels(self.setup),
                self.setup.answered,
            )
        return found

    @property
    def _is_malignant(self) -> Array:
        """(K,) bool; all False where it is not known."""
        return np.isin(np.array(self.question.classes), np.array(self.setup.malignant or (), dtype=str))

    def _values(self, test: _TestSet, fitted: _FittedRuns) -> dict[str, Array]:
        """Every measure by seed and resample, (S, C); predictions outside the compared classes count as wrong."""
        labels, classes = self.labels, self.question.classes
        sample, truth, weights = test.sample, test.sample.labels, test.sample.weights
        p = [probabilities(run, test.split, classes)[test.kept] for run in fitted.runs]
        restored = [self.setup.priors.restore(each) for each in p]
        scaled = [calibration.scale(each, t) for each, t in zip(restored, fitted.temperatures, strict=True)]
        by_class = np.stack([sensitivity(truth, each, weights) for each in p])  # (S, K, C)
        places = [classes.index(name) for name in labels.compared]
        mix = np.array([each.internal_images for each in labels.classes if each.compared]) / labels.images("internal")
        found = {name: np.stack([metric(truth, each, weights) for each in p]) for name, metric in COMPARED.items()}
        found["accuracy_reweighted"] = np.einsum("k,skc->sc", mix, by_class[:, places])
        found["log_loss_scaled"] = np.stack([log_loss(truth, each, weights) for each in scaled])
        for name, predicted in (("calibration_squared", p), ("calibration_squared_scaled", scaled)):
            found[name] = np.stack([self._calibration_error(sample, each) for each in predicted])
        if "malignant_auroc" in self.measures:
            found |= self._malignant(sample, restored, fitted.val) | self._calibration(sample, scaled)
        return found | {f"sensitivity.{name}": by_class[:, k] for k, name in zip(places, labels.compared, strict=True)}

    def _calibration_error(self, sample: Resampled, p: Array) -> Array:
        """The debiased squared error of the predicted class's probability in every resample, (C,)."""
        predicted, observed = calibration.top_class(sample.labels, p)
        places = calibration.equal_mass(predicted, self.setup.bins)
        return debiased_squared_errors(predicted, observed, places, sample.groups, sample.weights)

    def _malignant(self, sample: Resampled, p: Sequence[Array], val: SeedPredictions) -> dict[str, Array]:
        """AUROC and rates of malignant against benign at thresholds of val, (S, C) each; NaN where val has none."""
        mask = self._is_malignant
        scores, on_val = (np.stack([each[:, mask].sum(1) for each in given]) for given in (p, val.p))
        task = operating_points.BinaryTask("malignant", on_val, mask[val.labels], scores, mask[sample.labels])
        found = {"malignant_auroc": operating_points.aurocs(sample, task)}
        for fixed, level in _operating_levels(self.setup):
            chosen = [operating_points.threshold(each, task.val_positive, fixed, level) for each in on_val]
            thresholds = np.array(chosen)[:, None]  # (S, 1)
            rates = operating_points.rates(scores >= thresholds, task.positive, sample.weights)
            for rate in ("sensitivity", "specificity"):
                found[_rate_name(rate, fixed, level)] = np.where(np.isnan(thresholds), np.nan, rates[rate])
        return found

    def _calibration(self, sample: Resampled, scaled: Sequence[Array]) -> dict[str, Array]:
        """CALIBRATION by seed and resample, (S, C) each."""
        mask = self._is_malignant
        trained, own = self.setup.priors.frequencies, class_frequencies(sample.labels, len(mask))
        observed = mask[sample.labels]
        found: dict[str, Array] = {}
        for ending, seeds in (("", scaled), ("_known", [change_prior(p, trained, own) for p in scaled])):
            lines = [calibration_line(p[:, mask].sum(1), observed, sample.weights) for p in seeds]
            for place, name in enumerate(("intercept", "slope")):
                found[f"calibration_{name}{ending}"] = np.stack([line[place] for line in lines])
        return found

    def describe(self, arm: str, protocol: FinetuneProtocol, measured: Mapping[Model, _ModelSamples]) -> ExternalModel:
        """One model with its p-values before correction."""
        reference = self.question.reference
        own = measured[arm, protocol]
        other = None if arm == reference else measured[reference, protocol]
        dropped = own.drop(LEADING, (-1, 1)).p_value()
        differs = own.drop_difference(other, LEADING, (-2, 2)).p_value() if other else None
        return ExternalModel(
            arm=arm,
            protocol=protocol,
            seeds=own.seeds,
            temperatures=own.temperatures,
            changes={name: self._change(own, other, name, measure) for name, measure in self.measures.items()},
            dropped=AdjustedP(dropped, dropped),
            differs=None if differs is None else AdjustedP(differs, differs),
            found=own.found,
        )

    def _change(
        self, own: _ModelSamples, other: _ModelSamples | None, name: str, measure: ExternalMeasure
    ) -> ExternalChange:
        confidence, (low, high) = self.question.rule.confidence, measure.bounds
        span = high - low
        return ExternalChange(
            own.estimate(name, 0, measure.bounds).interval(confidence),
            own.estimate(name, 1, measure.bounds).interval(confidence),
            own.drop(name, (-span, span)).interval(confidence),
            own.drop_difference(other, name, (-2 * span, 2 * span)).interval(confidence) if other else None,
        )

    def rank(
        self, protocol: FinetuneProtocol, arms: Sequence[str], measured: Mapping[Model, _ModelSamples]
    ) -> ArmOrder:
        """Arms by the mean over seeds; ties keep the study's order."""
        own = {arm: measured[arm, protocol] for arm in arms}
        internal, external = (
            tuple(sorted(own, key=lambda arm: -own[arm].estimate(LEADING, place, SHARE).mean)) for place in (0, 1)
        )
        swapped = [
            (one, other)
            for at, one in enumerate(internal)
            for other in internal[at + 1 :]
            if external.index(one) > external.index(other)
        ]
        sure = any(self._surely_swap(own[one], own[other]) for one, other in swapped)
        return ArmOrder(protocol, internal, external, sure)

    def _surely_swap(self, one: _ModelSamples, other: _ModelSamples) -> bool:
        """True if `one` is better on the internal and worse on the external set, both intervals excluding zero."""
        rule = self.question.rule
        here, there = (one.difference(other, LEADING, place).interval(rule.confidence) for place in (0, 1))
        return one.seeds >= rule.min_seeds and here.low > 0 > there.high


def _correct(models: Sequence[ExternalModel]) -> tuple[ExternalModel, ...]:
    """Holm's correction over two families: is there a drop, and is the drop another than the reference's."""
    dropped = holm_by_key({each.name: each.dropped.p for each in models})
    differs = holm_by_key({each.name: each.differs.p for each in models if each.differs})
    return tuple(replace(each, dropped=dropped[each.name], differs=differs.get(each.name)) for each in models)
