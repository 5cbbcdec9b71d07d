"""Every arm against the reference, seed by seed and lesion by lesion, with p-values corrected over all comparisons.

Letters: N images, K classes, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from components.base.run_id import FinetuneProtocol, model_name
from components.comparison.against_null import AgainstNull
from components.comparison.measurements import RESAMPLED, RunMeasurements
from components.comparison.outcomes import EXCLUSIVE, EstimatedDifference, accuracy_p_values
from components.comparison.overfitting_gap import DECIDING_GAP, DECIDING_PLACE, GAPS, PLACES, GapDifference
from components.comparison.resampled_gap import EqualLoss, ResampledGaps, RunGaps, at_equal_loss
from components.comparison.verdict import Verdict, verdict
from components.statistics.bootstrap import Design
from components.statistics.forecast import Forecast, Found, forecast_study
from components.statistics.intervals import Estimate, Interval, VarianceComponents, estimate, student_interval
from components.statistics.power import SampleSize, required_sample_size
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule
from components.statistics.runs import Images, Run
from components.statistics.significance import (
    AdjustedP,
    Delong,
    Mcnemar,
    balanced_accuracy_terms,
    clustered_mcnemar,
    delong,
    holm_over_all,
    permutation_test,
    sum_by_group,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class OtherTests:
    """Known tests of the trained models: they count the lesions' variance alone, not that of the seeds."""

    permutation: float
    """p of balanced accuracy, arms swapped within lesions."""
    delong: Delong
    """Of macro AUROC."""
    mcnemar: Mcnemar
    """Of the answers, by lesion."""


@dataclass(frozen=True)
class PairedDifference:
    """An arm minus the reference under one protocol, the same seeds and the same lesions on both sides."""

    arm: str
    protocol: FinetuneProtocol
    test: Mapping[str, Interval]
    """RESAMPLED."""
    sources: Mapping[str, VarianceComponents]
    """Of RESAMPLED."""
    seed_only: Interval
    """Balanced accuracy over seeds alone, Student's t."""
    by_seed: tuple[float, ...]
    """Balanced accuracy."""
    gap: Interval
    """DECIDING_GAP at DECIDING_PLACE."""
    gaps: Mapping[str, Mapping[str, GapDifference]]
    """Of GAPS, by name of PLACES."""
    equal_loss: EqualLoss
    """The gaps where both arms have the same train loss; they decide nothing."""
    tests: Mapping[str, AdjustedP]
    """Balanced accuracy: differs, above_margin, below_margin; gap: differs."""
    other_tests: OtherTests
    need: SampleSize | None
    """To find a difference as large as the margin; None without margin or with one seed."""
    forecasts: tuple[Forecast, ...]
    """The study as it is, with more seeds, with more test lesions; empty where `need` is None."""
    verdict: Verdict

    @property
    def name(self) -> str:
        """`ARM-PROTOCOL`."""
        return model_name(self.arm, self.protocol)


@dataclass(frozen=True)
class ArmPair:
    """The runs of an arm and of the reference under one protocol, seed by seed, with what was measured of them."""

    arm: Sequence[Run]
    reference: Sequence[Run]
    arm_measured: Sequence[RunMeasurements]
    reference_measured: Sequence[RunMeasurements]
    arm_null: AgainstNull
    reference_null: AgainstNull
    arm_gaps: Sequence[RunGaps]
    reference_gaps: Sequence[RunGaps]
    resampled_gaps: ResampledGaps
    epochs: int
    """That all runs of the protocol have."""

    def estimate(self, metric: str, design: Design) -> Estimate:
        """The paired difference in a metric, see `paired_estimate`."""
        return paired_estimate(self.arm_measured, self.reference_measured, metric, design)

    def by_seed(self, metric: str) -> Array:
        """The paired difference in a metric on the images as they are, (S,)."""
        both = zip(self.arm_measured, self.reference_measured, strict=True)
        return np.array([mine.samples[metric].value - its.samples[metric].value for mine, its in both])

    @cached_property
    def gaps(self) -> dict[str, dict[str, GapDifference]]:
        """The paired difference in each of GAPS at each of PLACES; it is tested at DECIDING_PLACE alone."""
        return {name: {place: self._gap(name, place) for place in PLACES} for name in GAPS}

    def _gap(self, name: str, place: str) -> GapDifference:
        sides = ([each[place][name] for each in side] for side in (self.arm_gaps, self.reference_gaps))
        return self.resampled_gaps.difference(*sides, tested=place == DECIDING_PLACE)


def paired_estimate(
    arm: Sequence[RunMeasurements], other: Sequence[RunMeasurements], metric: str, design: Design
) -> Estimate:
    """The difference of two arms in a metric: the same seeds and the same resampled lesions on both sides."""
    both = zip(arm, other, strict=True)
    return estimate([mine.samples[metric] - its.samples[metric] for mine, its in both], design.strata)


def compare_with_reference(
    pairs: Sequence[ArmPair], test: Images, design: Design, question: StudyQuestion, power: float
) -> tuple[PairedDifference, ...]:
    """The difference of every pair; p-values are corrected in one Holm family over all pairs and questions.

    Args:
        pairs: all comparisons of the study.
        test: the test images.
        design: the resamples behind what was measured.
        question: gives rule, resamples, seed and the names.
        power: with which a difference as large as the margin shall be found.
    """
    found = [pair.estimate("balanced_accuracy", design) for pair in pairs]
    p = [_p_values(pair, each, question.rule) for pair, each in zip(pairs, found, strict=True)]
    tests = holm_over_all(p, EXCLUSIVE)
    return tuple(
        _difference(pair, its, test, design, question, power=power) for pair, its in zip(pairs, tests, strict=True)
    )


def _p_values(pair: ArmPair, accuracy: Estimate, rule: Rule) -> dict[str, float]:
    """The four hypotheses that a verdict tests in a comparison."""
    return {
        **accuracy_p_values(accuracy, rule),
        "gap": pair.gaps[DECIDING_GAP][DECIDING_PLACE].p,
    }


def _difference(
    pair: ArmPair,
    tests: Mapping[str, AdjustedP],
    test: Images,
    design: Design,
    question: StudyQuestion,
    *,
    power: float,
) -> PairedDifference:
    rule, first = question.rule, pair.arm[0]
    found = {name: pair.estimate(name, design) for name in RESAMPLED}
    intervals = {name: each.interval(rule.confidence) for name, each in found.items()}
    by_seed = pair.by_seed("balanced_accuracy")
    accuracy = EstimatedDifference.of_accuracy(intervals["balanced_accuracy"], tests)
    gap = EstimatedDifference(pair.gaps[DECIDING_GAP][DECIDING_PLACE].interval, differs=tests["gap"].holm)
    need = _need(found["balanced_accuracy"].sources, question, power)
    return PairedDifference(
        arm=first.arm,
        protocol=first.protocol,
        test=intervals,
        sources={name: each.sources for name, each in found.items()},
        seed_only=student_interval(by_seed, rule.confidence),
        by_seed=tuple(by_seed.tolist()),
        gap=gap.interval,
        gaps=pair.gaps,
        equal_loss=at_equal_loss(pair.arm, pair.reference, pair.epochs, pair.resampled_gaps),
        tests=tests,
        other_tests=_other_tests(pair, test, question),
        need=need,
        forecasts=_forecasts(found["balanced_accuracy"], question) if need else (),
        verdict=verdict(first.id, accuracy, gap, question, arm=pair.arm_null, reference=pair.reference_null),
    )


def _other_tests(pair: ArmPair, test: Images, question: StudyQuestion) -> OtherTests:
    arm, reference = (
        [each.probabilities for each in side] for side in (pair.arm_measured, pair.reference_measured)
    )  # (N, K) a seed
    shares = [np.mean([balanced_accuracy_terms(test.labels, p) for p in side], axis=0) for side in (arm, reference)]
    arm_right, reference_right = (np.stack([p.argmax(1) == test.labels for p in side]) for side in (arm, reference))
    rng = np.random.default_rng([question.seed, 1])  # other draws than the bootstrap's
    return OtherTests(
        permutation_test(sum_by_group(shares[0] - shares[1], test.groups), question.resamples, rng),
        delong(test.labels, arm, reference, test.groups),
        clustered_mcnemar(arm_right, reference_right, test.groups),
    )


def _need(sources: VarianceComponents, question: StudyQuestion, power: float) -> SampleSize | None:
    """At the level that Holm's correction demands of the smallest p-value of a family."""
    rule = question.rule
    if rule.margin <= 0 or sources.seeds < 2 or not sources.both > 0:
        return None
    return required_sample_size(sources, rule.margin, rule.alpha / question.tests, power)


def _forecasts(found: Estimate, question: StudyQuestion) -> tuple[Forecast, ...]:
    rng = np.random.default_rng([question.seed, 2])  # other draws than the bootstrap's
    return forecast_study(Found(found.mean, found.sources), question.rule, question.tests, rng)
