"""Does it hold elsewhere: every arm on an external test set against the internal test, over the classes that both have.

Two sets of lesions answer, and nothing links them but the models: each set is drawn again on its own, so the variance
of external minus internal is the sum of both (`apart`), while a seed is the same model on both sides, so seeds stay
paired. Nothing is learned, chosen or fitted on the external images: thresholds and temperatures are those of val.
Letters: N images, K classes, G lesions, S seeds, C columns of resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from components.base.json_data import plain
from components.base.log import Log
from components.clinical import calibration, operating_points
from components.external_validation.claims import _claims
from components.external_validation.label_map import LabelMap
from components.external_validation.results import (
    EXTERNAL,
    MEASURES,
    Array,
    Change,
    Measure,
    Order,
    Sheet,
    Transfer,
    TransferPlan,
)
from components.statistics.bootstrap import Design, Sample
from components.statistics.intervals import Estimate, estimate
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.log_loss import log_loss
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.metrics.sensitivity import sensitivity
from components.statistics.resampled import SHARE, Resampled, Said, resample
from components.statistics.runs import Run, by_protocol, probabilities, same_images
from components.statistics.significance import Tested, holm_of
from components.statistics.weighting import ratio

BLOCK = 1024
"""Resamples worked on at once; bounds the memory."""

COMPARED = {
    "balanced_accuracy": balanced_accuracy,
    "macro_auroc": macro_auroc,
    "accuracy": accuracy,
    "log_loss": log_loss,
}

# --- two sets of lesions, the same models


def apart(external: Sample, internal: Sample) -> Sample:
    """External minus internal of one model, on lesions that were drawn without regard to each other.

    Draw by draw the difference of two independent bootstraps, whose variances add up. The delete-one jackknife of a
    function of two samples leaves out one group of either, the other sample whole (Davison & Hinkley 1997, section
    3.2), so `omitted` has a place for each group of both, external ones first, in strata of their own
    (`strata_apart`): influences, degrees of freedom and acceleration then add up over both sets.
    """
    omitted = np.concatenate([external.omitted - internal.value, external.value - internal.omitted])
    return Sample(external.value - internal.value, external.resampled - internal.resampled, omitted)


def strata_apart(external: Design, internal: Design) -> Array:
    """(G external + G internal,) the stratum of each group, none shared."""
    return np.concatenate([external.strata, internal.strata + external.strata.max() + 1])


def calibration_errors(labels: Array, groups: Array, p: Array, weights: Array, bins: int) -> Array:
    """The root of `calibration.debiased_squared_error` of the answers in every resample, (C,).

    Bins are those of the images as they are. A lesion drawn twice is still one lesion: it makes no pair with itself,
    so that drawing again adds no bias, unlike for errors that are not debiased.
    """
    said, happened = calibration.answer(labels, p)
    places = calibration.equal_mass(said, bins)
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    shape = (int(places.max()) + 1, len(first))  # (B, G)
    cell = places * shape[1] + member
    sums = np.bincount(cell, weights=happened - said, minlength=shape[0] * shape[1]).reshape(shape)
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    blocks = range(0, weights.shape[1], BLOCK)
    drawn = (weights[first, start : start + BLOCK].astype(float) for start in blocks)  # (G, BLOCK)
    return np.concatenate([_debiased(sums, counts, each) for each in drawn])


def _debiased(sums: Array, counts: Array, drawn: Array) -> Array:
    """Sums and counts (B, G) of bins and groups, groups drawn (G, C) times: the error (C,)."""
    images, twice = counts @ drawn, drawn**2
    products = (sums @ drawn) ** 2 - sums**2 @ twice  # (B, C) over pairs of different groups
    pairs = images**2 - counts**2 @ twice
    squared, images = np.where(pairs > 0, ratio(products, pairs), 0), np.where(pairs > 0, images, 0)
    return np.asarray(np.sqrt(np.maximum(ratio((squared * images).sum(0), images.sum(0)), 0)))


@dataclass(frozen=True)
class _Side:
    """The images of compared classes of one set."""

    split: str  # test or external
    kept: Array  # (N,) bool, of all images of the split
    sample: Resampled


@dataclass(frozen=True)
class _Case:
    """What val lets one arm's seeds bring along."""

    runs: Sequence[Run]
    val: Said
    temperatures: Array  # (S,)


def assess(runs: Sequence[Run], labels: LabelMap, plan: TransferPlan, log: Log) -> Transfer:
    """Everything; predictions of `runs` hold val, test and EXTERNAL images."""
    sides = [_side(runs, split, labels, plan, stream) for stream, split in enumerate(("test", EXTERNAL))]
    measures = {**MEASURES, **_rates(plan, labels), **_by_class(labels)}
    drafts: list[Sheet] = []
    values: dict[str, _Measured] = {}
    for protocol, arms in by_protocol(runs).items():
        for arm, group in log.track(arms.items(), len(arms), f"arms on {plan.cohort}, {protocol}"):
            values[f"{arm}-{protocol}"] = _measure(_case(group, plan), sides, labels, plan, measures)
        drafts += [_sheet(arm, protocol, values, measures, plan) for arm in arms]
    sheets = _corrected(drafts)
    orders = tuple(_order(protocol, arms, values, plan) for protocol, arms in by_protocol(runs).items())
    lesions = {name: len(set(side.sample.groups)) for name, side in zip(("internal", "external"), sides, strict=True)}
    return Transfer(plan, labels, lesions, measures, sheets, orders, _claims(sheets, orders, plan))


def _side(runs: Sequence[Run], split: str, labels: LabelMap, plan: TransferPlan, stream: int) -> _Side:
    """Streams of their own: equal draws would link two sets that nothing links. The test's is that of `compare`."""
    images = same_images(runs, split, plan.classes)
    kept = np.isin(images.labels, [plan.classes.index(name) for name in labels.compared])
    rng = np.random.default_rng([plan.seed, stream] if stream else plan.seed)
    drawn = resample(images.labels[kept], images.groups[kept], plan.resamples, plan.rule.confidence, rng)
    return _Side(split, kept, drawn)


def _case(runs: Sequence[Run], plan: TransferPlan) -> _Case:
    val = same_images(runs, "val", plan.classes)
    p = [probabilities(run, "val", plan.classes) for run in runs]
    temperatures = np.array([calibration.fit_temperature(val.labels, each) for each in p])
    return _Case(runs, Said(val.labels, val.groups, p), temperatures)


def _rates(plan: TransferPlan, labels: LabelMap) -> dict[str, Measure]:
    """AUROC and both rates at each of val's thresholds, where malignant and benign lesions are on both sides."""
    malignant = set(plan.malignant or ()) & set(labels.compared)
    if not malignant or malignant == set(labels.compared):
        return {}
    found = {"malignant_auroc": Measure("AUROC, malignant", SHARE, share=False)}
    for fixed, level in _lines(plan):
        for rate in ("sensitivity", "specificity"):
            title = f"{rate.capitalize()}, malignant, where val has {100 * level:g} % {fixed}"
            found[_rate(rate, fixed, level)] = Measure(title, SHARE)
    return found


def _lines(plan: TransferPlan) -> list[tuple[str, float]]:
    return [(fixed, level) for fixed in ("specificity", "sensitivity") for level in plan.levels]


def _rate(rate: str, fixed: str, level: float) -> str:
    return f"{rate}_at_{fixed}_{level:g}"


def _by_class(labels: LabelMap) -> dict[str, Measure]:
    return {f"sensitivity.{name}": Measure(f"Sensitivity, {name}", SHARE) for name in labels.compared}


@dataclass(frozen=True)
class _Measured:
    """One arm's seeds by measure: samples of both sides and of their difference, and where groups stand."""

    sides: Mapping[str, tuple[list[Sample], list[Sample]]]  # internal, external
    strata: tuple[Array, Array]
    joint: Array  # strata of the difference
    seeds: int
    temperatures: tuple[float, ...]

    def estimate(self, name: str, place: int, bounds: tuple[float, float]) -> Estimate:
        """One side's mean over seeds."""
        return estimate(self.sides[name][place], self.strata[place], bounds)

    def drops(self, name: str) -> list[Sample]:
        """External minus internal of each seed."""
        internal, external = self.sides[name]
        return [apart(there, here) for there, here in zip(external, internal, strict=True)]

    def drop(self, name: str, bounds: tuple[float, float]) -> Estimate:
        """Its mean over seeds."""
        return estimate(self.drops(name), self.joint, bounds)

    def against(self, other: _Measured, name: str, bounds: tuple[float, float]) -> Estimate:
        """Its drop minus the other's: the same lesions and seeds on both sides, so all is paired."""
        pairs = zip(self.drops(name), other.drops(name), strict=True)
        return estimate([mine - theirs for mine, theirs in pairs], self.joint, bounds)


def _measure(
    case: _Case, sides: Sequence[_Side], labels: LabelMap, plan: TransferPlan, measures: Mapping[str, Measure]
) -> _Measured:
    internal, external = (_values(side, case, labels, plan, measures) for side in sides)
    here, there = (side.sample.design for side in sides)
    samples = {
        name: ([here.split(row) for row in internal[name]], [there.split(row) for row in external[name]])
        for name in measures
    }
    joint = strata_apart(there, here)
    return _Measured(samples, (here.strata, there.strata), joint, len(case.runs), tuple(case.temperatures.tolist()))


def _values(
    side: _Side, case: _Case, labels: LabelMap, plan: TransferPlan, measures: Mapping[str, Measure]
) -> dict[str, Array]:
    """Every measure by seed and resample, (S, C); answers outside the compared classes stay answers, and are wrong."""
    sample, truth, weights = side.sample, side.sample.labels, side.sample.weights
    p = [probabilities(run, side.split, plan.classes)[side.kept] for run in case.runs]
    scaled = [calibration.scale(each, t) for each, t in zip(p, case.temperatures, strict=True)]
    by_class = np.stack([sensitivity(truth, each, weights) for each in p])  # (S, K, C)
    places = [plan.classes.index(name) for name in labels.compared]
    mix = np.array([each.internal_images for each in labels.classes if each.compared]) / labels.images("internal")
    found = {name: np.stack([metric(truth, each, weights) for each in p]) for name, metric in COMPARED.items()}
    found["accuracy_reweighted"] = np.einsum("k,skc->sc", mix, by_class[:, places])
    found["log_loss_scaled"] = np.stack([log_loss(truth, each, weights) for each in scaled])
    for name, answers in (("ece_debiased", p), ("ece_debiased_scaled", scaled)):
        errors = [calibration_errors(truth, sample.groups, each, weights, plan.bins) for each in answers]
        found[name] = np.stack(errors)
    if "malignant_auroc" in measures:
        found |= _malignant(sample, p, case.val, plan)
    return found | {f"sensitivity.{name}": by_class[:, k] for k, name in zip(places, labels.compared, strict=True)}


def _malignant(sample: Resampled, p: Sequence[Array], val: Said, plan: TransferPlan) -> dict[str, Array]:
    """AUROC and rates of malignant against benign at val's thresholds, (S, C) each; NaN where val knows none."""
    mask = np.isin(np.array(plan.classes), np.array(plan.malignant, dtype=str))  # (K,)
    scores, before = (np.stack([each[:, mask].sum(1) for each in given]) for given in (p, val.p))
    question = operating_points.Question("malignant", before, mask[val.labels], scores, mask[sample.labels])
    found = {"malignant_auroc": operating_points.aurocs(sample, question)}
    for fixed, level in _lines(plan):
        chosen = np.array([operating_points.threshold(each, question.val_positive, fixed, level) for each in before])[
            :, None
        ]
        rates = operating_points.rates(scores >= chosen, question.positive, sample.weights)
        for rate in ("sensitivity", "specificity"):
            found[_rate(rate, fixed, level)] = np.where(np.isnan(chosen), np.nan, rates[rate])
    return found


def _sheet(
    arm: str,
    protocol: str,
    values: Mapping[str, _Measured],
    measures: Mapping[str, Measure],
    plan: TransferPlan,
) -> Sheet:
    """The arm with its p-values as they are."""
    own, reference = values[f"{arm}-{protocol}"], values[f"{plan.reference}-{protocol}"]
    other = None if arm == plan.reference else reference
    changes = {name: _change(own, other, name, measure, plan.rule.confidence) for name, measure in measures.items()}
    dropped = own.drop("balanced_accuracy", (-1, 1)).p_value()
    travels = own.against(other, "balanced_accuracy", (-2, 2)).p_value() if other else None
    return Sheet(
        arm,
        protocol,
        own.seeds,
        own.temperatures,
        changes,
        Tested(dropped, dropped),
        None if travels is None else Tested(travels, travels),
    )


def _change(own: _Measured, other: _Measured | None, name: str, measure: Measure, confidence: float) -> Change:
    low, high = measure.bounds
    reach = high - low
    return Change(
        own.estimate(name, 0, measure.bounds).interval(confidence),
        own.estimate(name, 1, measure.bounds).interval(confidence),
        own.drop(name, (-reach, reach)).interval(confidence),
        own.against(other, name, (-2 * reach, 2 * reach)).interval(confidence) if other else None,
    )


def _corrected(drafts: Sequence[Sheet]) -> tuple[Sheet, ...]:
    """Two questions, each asked of several arms: does it drop, does it drop otherwise than the reference."""
    dropped = holm_of({sheet.name: sheet.dropped.p for sheet in drafts})
    travels = holm_of({sheet.name: sheet.travels.p for sheet in drafts if sheet.travels})
    return tuple(replace(each, dropped=dropped[each.name], travels=travels.get(each.name)) for each in drafts)


def _order(
    protocol: str, arms: Sequence[str] | Mapping[str, Any], values: Mapping[str, _Measured], plan: TransferPlan
) -> Order:
    """By the mean over seeds; ties keep the study's order."""
    own = {arm: values[f"{arm}-{protocol}"] for arm in arms}
    ranked = [
        tuple(sorted(own, key=lambda arm: -own[arm].estimate("balanced_accuracy", place, SHARE).mean))
        for place in (0, 1)
    ]
    swapped = [
        (one, other)
        for at, one in enumerate(ranked[0])
        for other in ranked[0][at + 1 :]
        if ranked[1].index(one) > ranked[1].index(other)
    ]
    sure = any(_surely_swap(own[one], own[other], plan) for one, other in swapped)
    return Order(protocol, ranked[0], ranked[1], sure)


def _surely_swap(one: _Measured, other: _Measured, plan: TransferPlan) -> bool:
    """Whether `one` is surely ahead here and surely behind there, by enough seeds."""
    here, there = (_between(one, other, place).interval(plan.rule.confidence) for place in (0, 1))
    return one.seeds >= plan.rule.min_seeds and here.low > 0 > there.high


def _between(one: _Measured, other: _Measured, place: int) -> Estimate:
    """Balanced accuracy of `one` minus that of `other` on one side, paired."""
    sides = (each.sides["balanced_accuracy"][place] for each in (one, other))
    return estimate([mine - theirs for mine, theirs in zip(*sides, strict=True)], one.strata[place])


# --- in words


# --- as data


def as_record(transfer: Transfer) -> dict[str, Any]:
    """JSON-able data: six decimals, null for what is not known."""
    own = {"compared": transfer.labels.compared, "lacking": transfer.labels.lacking, "few": transfer.labels.few}
    content = asdict(transfer)
    content["labels"] |= own
    record: dict[str, Any] = plain(content)
    return record


def as_metrics(transfer: Transfer) -> dict[str, Any]:
    """What to follow from run to run: counts, and `ARM-PROTOCOL/MEASURE/{internal, external, drop}`, known ones."""
    found: dict[str, Any] = {
        "images": transfer.labels.images("external"),
        "lesions": transfer.lesions["external"],
        "classes": len(transfer.labels.compared),
        "outside": sum(transfer.labels.outside.values()),
    }
    for sheet in transfer.sheets:
        found[sheet.name] = {
            name: {
                side: round(getattr(change, side).mean, 6) + 0.0
                for side in ("internal", "external", "drop")
                if np.isfinite(getattr(change, side).mean)
            }
            for name, change in sheet.changes.items()
        }
    return found
