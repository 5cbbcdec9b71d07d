"""Every possible result of a comparison: one table of all regions of (accuracy, overfitting gap), as data.

A finding is two differences, arm minus reference. `accuracy_region` and `gap_region` say in which region each is,
`judge` gives the cell of OUTCOMES. The regions are disjoint and cover the whole plane, so each finding has exactly one
outcome, and a gap that is significantly smaller or larger is named in it whatever the accuracy is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Protocol, Self

from components.statistics.intervals import Interval
from components.statistics.rule import Rule
from components.statistics.significance import AdjustedP


class AccuracyRegion(StrEnum):
    """Where the difference in test balanced accuracy is."""

    TOO_FEW_SEEDS = "not decided: too few seeds"
    EQUIVALENT = "equivalent within margin"
    SUPERIOR = "superior"
    INFERIOR = "inferior"
    NON_INFERIOR = "non-inferior within margin"
    NON_SUPERIOR = "non-superior within margin"
    AFTER_CORRECTION = "not decided after correction"
    """The interval decides, the p-value after Holm's correction does not."""
    TOO_WIDE = "not decided: interval too wide"


class GapRegion(StrEnum):
    """Where the difference in the overfitting gap is."""

    TOO_FEW_SEEDS = "too few seeds"
    SMALLER = "smaller gap"
    SMALLER_UNLEARNED = "smaller gap without credit"
    """The arm is not shown to have learned: such a model has little to overfit."""
    LARGER = "larger gap"
    LARGER_UNLEARNED = "larger gap than an untrained reference"
    """The reference is not shown to have learned: its gap is small for the same reason."""
    AFTER_CORRECTION = "gap not decided after correction"
    UNDECIDED = "gap not decided"


@dataclass(frozen=True)
class Outcome:
    """One cell of the table."""

    accuracy: AccuracyRegion
    gap: GapRegion
    name: str
    """A few words, which name a gap that is significantly smaller or larger."""
    sentence: str
    """What it means; `{margin}`, `{tests}` and the like are filled in by `verdict`."""
    tone: str
    """CSS class of its colour; `none` where nothing is decided."""

    @property
    def decides_accuracy(self) -> bool:
        """Whether anything is shown about balanced accuracy: its region is none that is called not decided."""
        return self.accuracy not in (AccuracyRegion.TOO_FEW_SEEDS, *OPEN)


ACCURACY_TESTS = ("differs", "above_margin", "below_margin")
"""Hypotheses of `accuracy_p_values`."""

EXCLUSIVE = dict.fromkeys(ACCURACY_TESTS, "accuracy")
"""At most one of them is true (the difference is zero, at most minus the margin, or at least the margin), so Holm's
correction counts them once."""


class AnyDifference(Protocol):
    """A difference in balanced accuracy whose p-value can be computed for any hypothesis."""

    @property
    def mean(self) -> float:
        """The point estimate."""

    def p_value(self, null: float = 0.0) -> float:
        """Of the difference being `null`."""


def accuracy_p_values(found: AnyDifference, rule: Rule) -> dict[str, float]:
    """The three hypotheses that a verdict tests about accuracy, before correction."""
    return {
        "differs": found.p_value(0.0),
        "above_margin": found.p_value(-rule.margin) if found.mean > -rule.margin else 1.0,
        "below_margin": found.p_value(rule.margin) if found.mean < rule.margin else 1.0,
    }


@dataclass(frozen=True)
class EstimatedDifference:
    """A difference, arm minus reference, and p-values after Holm's correction over all comparisons."""

    interval: Interval
    differs: float
    """p of: the difference is zero."""
    above_margin: float = 1.0
    """p of: it is minus the margin; small with a mean above it: not much worse."""
    below_margin: float = 1.0
    """p of: it is the margin; small with a mean below it: not much better."""

    @classmethod
    def of_accuracy(cls, interval: Interval, tests: Mapping[str, AdjustedP]) -> Self:
        """A difference in balanced accuracy with the corrected p-values of `accuracy_p_values`."""
        return cls(interval, **{name: tests[name].holm for name in ACCURACY_TESTS})

    def is_above_zero(self, alpha: float) -> bool:
        """Whether it is significantly more than zero."""
        return self.differs <= alpha and self.interval.low > 0

    def is_below_zero(self, alpha: float) -> bool:
        """Whether it is significantly less than zero."""
        return self.differs <= alpha and self.interval.high < 0

    def is_not_worse(self, rule: Rule) -> bool:
        """Whether it is significantly more than minus the margin, which follows where it is more than zero."""
        shown = self.above_margin <= rule.alpha and self.interval.low >= -rule.margin
        return shown or self.is_above_zero(rule.alpha)

    def is_not_better(self, rule: Rule) -> bool:
        """Whether it is significantly less than the margin, which follows where it is less than zero."""
        shown = self.below_margin <= rule.alpha and self.interval.high <= rule.margin
        return shown or self.is_below_zero(rule.alpha)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval, which is not corrected, excludes zero."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True)
class Learned:
    """Whether arm and reference have learned enough for a small gap to count, see `AgainstNull.gets_credit`."""

    arm: bool = True
    reference: bool = True


def accuracy_region(accuracy: EstimatedDifference, seeds: int, rule: Rule) -> AccuracyRegion:
    """The region of a difference in balanced accuracy; exchanged arms have the opposite region."""
    not_worse, not_better = accuracy.is_not_worse(rule), accuracy.is_not_better(rule)
    low, high = accuracy.interval.low, accuracy.interval.high
    if seeds < rule.min_seeds:
        return AccuracyRegion.TOO_FEW_SEEDS
    if not_worse and not_better:
        return AccuracyRegion.EQUIVALENT
    if accuracy.is_above_zero(rule.alpha):
        return AccuracyRegion.SUPERIOR
    if accuracy.is_below_zero(rule.alpha):
        return AccuracyRegion.INFERIOR
    if not_worse:
        return AccuracyRegion.NON_INFERIOR
    if not_better:
        return AccuracyRegion.NON_SUPERIOR
    before = accuracy.excludes_zero or low >= -rule.margin or high <= rule.margin
    return AccuracyRegion.AFTER_CORRECTION if before else AccuracyRegion.TOO_WIDE


def gap_region(gap: EstimatedDifference, seeds: int, rule: Rule, learned: Learned) -> GapRegion:
    """The region of a difference in the overfitting gap; exchanged arms have the opposite region."""
    if seeds < rule.min_seeds:
        return GapRegion.TOO_FEW_SEEDS
    if gap.is_below_zero(rule.alpha):
        return GapRegion.SMALLER if learned.arm else GapRegion.SMALLER_UNLEARNED
    if gap.is_above_zero(rule.alpha):
        return GapRegion.LARGER if learned.reference else GapRegion.LARGER_UNLEARNED
    return GapRegion.AFTER_CORRECTION if gap.excludes_zero else GapRegion.UNDECIDED


def judge(
    accuracy: EstimatedDifference, gap: EstimatedDifference, seeds: int, rule: Rule, learned: Learned | None = None
) -> Outcome:
    """The outcome of a finding.

    Args:
        accuracy: difference in test balanced accuracy.
        gap: difference in the overfitting gap.
        seeds: number of seeds.
        rule: confidence, margin and least number of seeds.
        learned: whether arm and reference have learned; None: both have.
    """
    region = gap_region(gap, seeds, rule, learned or Learned())
    return OUTCOMES[accuracy_region(accuracy, seeds, rule), region]


ACCURACY_SENTENCES = {
    AccuracyRegion.EQUIVALENT: "Its balanced accuracy differs by less than {margin}",
    AccuracyRegion.SUPERIOR: "Its balanced accuracy is higher",
    AccuracyRegion.INFERIOR: "Its balanced accuracy is lower",
    AccuracyRegion.NON_INFERIOR: "Its balanced accuracy is not lower by {margin} or more",
    AccuracyRegion.NON_SUPERIOR: "Its balanced accuracy is not higher by {margin} or more, and may be lower",
    AccuracyRegion.AFTER_CORRECTION: (
        "Its balanced accuracy is not decided after correction for {tests}, though the interval alone decides"
    ),
    AccuracyRegion.TOO_WIDE: (
        "For balanced accuracy, neither a difference nor that it is within {margin} on either side is shown"
    ),
}

GAP_SENTENCES = {
    GapRegion.SMALLER: "it overfits less",
    GapRegion.SMALLER_UNLEARNED: "its smaller gap gets no credit, because it is not shown to have learned",
    GapRegion.LARGER: "it overfits more",
    GapRegion.LARGER_UNLEARNED: "its gap is larger than that of the reference, which is not shown to have learned",
    GapRegion.AFTER_CORRECTION: "the difference in the gap is not decided after correction for {tests}",
    GapRegion.UNDECIDED: "no difference in the gap is shown",
}

NAMED = (GapRegion.SMALLER, GapRegion.SMALLER_UNLEARNED, GapRegion.LARGER, GapRegion.LARGER_UNLEARNED)
"""Gaps that an outcome's name states: all that are significantly smaller or larger."""

OPEN = (AccuracyRegion.AFTER_CORRECTION, AccuracyRegion.TOO_WIDE)
"""Accuracies of which nothing is decided."""

TONES = {
    AccuracyRegion.EQUIVALENT: ("even", "good", "mixed"),
    AccuracyRegion.SUPERIOR: ("good", "good", "mixed"),
    AccuracyRegion.INFERIOR: ("bad", "mixed", "bad"),
    AccuracyRegion.NON_INFERIOR: ("even", "good", "mixed"),
    AccuracyRegion.NON_SUPERIOR: ("none", "mixed", "bad"),
    AccuracyRegion.AFTER_CORRECTION: ("none", "mixed", "mixed"),
    AccuracyRegion.TOO_WIDE: ("none", "mixed", "mixed"),
}
"""With a gap that is not decided (or does not count), smaller, larger."""


def _outcome(accuracy: AccuracyRegion, gap: GapRegion) -> Outcome:
    plain, smaller, larger = TONES[accuracy]
    name = accuracy.value
    if gap in NAMED:
        name = f"{gap.value}, accuracy {accuracy.value}" if accuracy in OPEN else f"{accuracy.value}, {gap.value}"
    return Outcome(
        accuracy=accuracy,
        gap=gap,
        name=name,
        sentence=f"{ACCURACY_SENTENCES[accuracy]}; {GAP_SENTENCES[gap]}.",
        tone={GapRegion.SMALLER: smaller, GapRegion.LARGER: larger}.get(gap, plain),
    )


FEW = AccuracyRegion.TOO_FEW_SEEDS, GapRegion.TOO_FEW_SEEDS

OUTCOMES: Mapping[tuple[AccuracyRegion, GapRegion], Outcome] = {
    FEW: Outcome(*FEW, name=FEW[0].value, sentence="Nothing is decided with so few seeds.", tone="none"),
    **{cell: _outcome(*cell) for cell in product(ACCURACY_SENTENCES, GAP_SENTENCES)},
}
"""By region of accuracy and of the gap."""
