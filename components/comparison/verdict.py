"""From numbers to sentences by rules that are fixed before the numbers are seen.

A verdict rests on two differences, arm minus reference: test balanced accuracy, and the overfitting gap at the last
epoch (val loss minus train loss). `judge` holds the rules in the order in which they apply. Every sentence names the
element of the page that shows its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from components.base.run_id import RunId
from components.report.formatting import p_value
from components.report.wording import Claim, join_claims, mark_synthetic, points_with_interval, value_with_interval
from components.statistics.intervals import Interval
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule


class Outcome(StrEnum):
    """Every possible result of a comparison."""

    SUPERIOR = "superior"
    SUPERIOR_LARGER_GAP = "superior, larger gap"
    EQUIVALENT = "equivalent within margin"
    NON_INFERIOR_SMALLER_GAP = "non-inferior within margin, smaller gap"
    NON_INFERIOR = "non-inferior within margin"
    SMALLER_GAP_LOWER_ACCURACY = "smaller gap, lower accuracy"
    SMALLER_GAP = "smaller gap, accuracy not decided"
    INFERIOR = "inferior"
    TOO_FEW_SEEDS = "not decided: too few seeds"
    TOO_WIDE = "not decided: the interval is too wide"


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

    def is_above_zero(self, alpha: float) -> bool:
        """Whether it is significantly more than zero."""
        return self.differs <= alpha and self.interval.low > 0

    def is_below_zero(self, alpha: float) -> bool:
        """Whether it is significantly less than zero."""
        return self.differs <= alpha and self.interval.high < 0

    def is_not_worse(self, rule: Rule) -> bool:
        """Whether it is significantly more than minus the margin."""
        return self.above_margin <= rule.alpha and self.interval.low >= -rule.margin

    def is_not_better(self, rule: Rule) -> bool:
        """Whether it is significantly less than the margin."""
        return self.below_margin <= rule.alpha and self.interval.high <= rule.margin


@dataclass(frozen=True)
class Verdict:
    """One comparison's outcome, and the sentences that state it with their numbers."""

    outcome: Outcome
    claims: tuple[Claim, ...]

    @property
    def sentence(self) -> str:
        """The claims as plain text."""
        return join_claims(self.claims)


@dataclass(frozen=True)
class Candidate:
    """What the recommendation uses of one arm under one protocol."""

    name: str
    val: float
    """Mean balanced accuracy on val; it chooses."""
    test: Interval
    """Balanced accuracy on test; it is reported and never chooses."""
    run: str
    """The seed's run with the best balanced accuracy on val."""


@dataclass(frozen=True)
class Recommendation:
    """What to deploy, or why nothing; `chosen` and `run` name what val chose in either case."""

    deploy: bool
    chosen: str
    run: str
    claims: tuple[Claim, ...]

    @property
    def sentence(self) -> str:
        """The claims as plain text."""
        return join_claims(self.claims)


def judge(accuracy: EstimatedDifference, gap: EstimatedDifference, seeds: int, rule: Rule) -> Outcome:
    """The outcome from the differences in balanced accuracy and in the gap, by all rules in their order."""
    larger, smaller = gap.is_above_zero(rule.alpha), gap.is_below_zero(rule.alpha)
    if seeds < rule.min_seeds:
        return Outcome.TOO_FEW_SEEDS
    if accuracy.is_not_worse(rule) and accuracy.is_not_better(rule):
        return Outcome.EQUIVALENT
    if accuracy.is_above_zero(rule.alpha):
        return Outcome.SUPERIOR_LARGER_GAP if larger else Outcome.SUPERIOR
    if accuracy.is_below_zero(rule.alpha):
        return Outcome.SMALLER_GAP_LOWER_ACCURACY if smaller else Outcome.INFERIOR
    if accuracy.is_not_worse(rule):
        return Outcome.NON_INFERIOR_SMALLER_GAP if smaller else Outcome.NON_INFERIOR
    return Outcome.SMALLER_GAP if smaller else Outcome.TOO_WIDE


def verdict(run: RunId, accuracy: EstimatedDifference, gap: EstimatedDifference, question: StudyQuestion) -> Verdict:
    """The outcome in sentences.

    Args:
        run: any run of the arm under the protocol that is compared.
        accuracy: difference in test balanced accuracy.
        gap: difference in the gap in loss at the last epoch.
        question: gives reference, seeds and rule.
    """
    rule, seeds = question.rule, len(question.seeds)
    outcome = judge(accuracy, gap, seeds, rule)
    opening = f"{run.arm} against {question.reference}, {run.protocol.description}: {outcome}."
    difference = points_with_interval(accuracy.interval, rule.confidence)
    gap_difference = value_with_interval(gap.interval, rule.confidence)
    claims = (
        Claim(mark_synthetic(opening, question.synthetic), f"comparison-{run.model}"),
        Claim(f"Test balanced accuracy differs by {difference}, {_holm(accuracy.differs)}.", f"difference-{run.model}"),
        *_about_margin(accuracy, outcome, rule, f"margin-{run.model}"),
        Claim(
            f"The overfitting gap (loss) differs by {gap_difference}, {_holm(gap.differs)}.",
            f"gap-difference-{run.model}",
        ),
        Claim(_about_seeds(outcome, seeds, rule), "rule"),
    )
    return Verdict(outcome, claims)


def _about_margin(accuracy: EstimatedDifference, outcome: Outcome, rule: Rule, anchor: str) -> tuple[Claim, ...]:
    """The tests against the margin, where the outcome rests on them."""
    margin = f"{100 * rule.margin:g} points"
    not_worse = f"Not more than {margin} worse: {_holm(accuracy.above_margin)}"
    texts = {
        Outcome.EQUIVALENT: f"{not_worse}; nor better: {_holm(accuracy.below_margin)}.",
        Outcome.NON_INFERIOR: f"{not_worse}.",
        Outcome.NON_INFERIOR_SMALLER_GAP: f"{not_worse}.",
        Outcome.TOO_WIDE: f"Neither a difference nor that it is within {margin} is shown.",
    }
    return (Claim(texts[outcome], anchor),) if outcome in texts else ()


def _about_seeds(outcome: Outcome, seeds: int, rule: Rule) -> str:
    counted = f"From {seeds} seed{'s' * (seeds != 1)}"
    if outcome is Outcome.TOO_FEW_SEEDS:
        return f"{counted}; compare.min_seeds requires {rule.min_seeds}."
    return f"{counted}, with a margin of ±{100 * rule.margin:g} points."


def _holm(value: float) -> str:
    return f"p {p_value(value)} after Holm"


def recommend(candidates: list[Candidate], question: StudyQuestion) -> Recommendation:
    """The candidate with the highest balanced accuracy on val; test results can only withdraw the recommendation."""
    best = max(candidates, key=lambda candidate: candidate.val)  # of equal ones the first
    reason = _reason_against(best, question)
    opening = f"No recommendation: {reason}." if reason else f"Deploy {best.name}, by its run {best.run}."
    test = f"{100 * best.test.mean:.1f} %"
    test += f" ({100 * best.test.low:.1f} to {100 * best.test.high:.1f})" if best.test.known else ""
    chosen_by = f"{best.name} has the highest mean balanced accuracy on val: {100 * best.val:.1f} %."
    claims = (
        Claim(mark_synthetic(opening, question.synthetic), f"val-{best.name}"),
        Claim(chosen_by, f"val-{best.name}"),
        Claim(f"On test it reaches {test}.", f"test-{best.name}"),
    )
    return Recommendation(not reason, best.name, best.run, claims)


def _reason_against(best: Candidate, question: StudyQuestion) -> str:
    """Why nothing is recommended; empty where something is."""
    seeds, classes = len(question.seeds), len(question.classes)
    if question.synthetic:
        return "synthetic images are no evidence about patients"
    if seeds < question.rule.min_seeds:
        return f"{seeds} seed{'s' * (seeds != 1)}, compare.min_seeds requires {question.rule.min_seeds}"
    if not best.test.low > 1 / classes:
        return f"on test it is not significantly better than chance ({100 / classes:.1f} %)"
    return ""
