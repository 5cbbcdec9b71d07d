"""From numbers to words: one rule book, fixed before the numbers are seen.

A verdict looks at two differences, arm minus reference: test balanced accuracy, and the overfitting gap at the last
epoch (val loss minus train loss). The rules stand in `judge` in the order in which they are asked. Every sentence
names the place on the page where its number stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from components.base.run_id import FinetuneProtocol
from components.report.formatting import p_value
from components.report.wording import Claim, join_claims, mark_synthetic, points_with_interval, value_with_interval
from components.statistics.intervals import Interval
from components.statistics.rule import Rule


class Outcome(StrEnum):
    """All that a comparison can end with."""

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
class Finding:
    """A difference, arm minus reference, and what its tests say after Holm's correction over all comparisons."""

    interval: Interval
    differs: float  # p of: it is zero
    above_margin: float = 1.0  # p of: it is minus the margin; small and mean above: not much worse
    below_margin: float = 1.0  # p of: it is the margin; small and mean below: not much better

    def surely_above(self, alpha: float) -> bool:
        """More than zero."""
        return self.differs <= alpha and self.interval.low > 0

    def surely_below(self, alpha: float) -> bool:
        """Less than zero."""
        return self.differs <= alpha and self.interval.high < 0

    def not_worse(self, rule: Rule) -> bool:
        """More than minus the margin."""
        return self.above_margin <= rule.alpha and self.interval.low >= -rule.margin

    def not_better(self, rule: Rule) -> bool:
        """Less than the margin."""
        return self.below_margin <= rule.alpha and self.interval.high <= rule.margin


@dataclass(frozen=True)
class Verdict:
    """One comparison's outcome, and the sentences that say it with their numbers."""

    outcome: Outcome
    claims: tuple[Claim, ...]

    @property
    def sentence(self) -> str:
        """All of it as plain text."""
        return join_claims(self.claims)


@dataclass(frozen=True)
class Candidate:
    """One arm under one protocol, as the recommendation sees it."""

    name: str
    val: float  # mean balanced accuracy on val: chooses
    test: Interval  # balanced accuracy on test: is reported, never chooses
    run: str  # the seed's run with the best val balanced accuracy


@dataclass(frozen=True)
class Recommendation:
    """What to deploy, or why nothing; `chosen` and `run` name what val chose in either case."""

    deploy: bool
    chosen: str
    run: str
    claims: tuple[Claim, ...]

    @property
    def sentence(self) -> str:
        """All of it as plain text."""
        return join_claims(self.claims)


def judge(accuracy: Finding, gap: Finding, seeds: int, rule: Rule) -> Outcome:
    """The outcome of one comparison from its two differences."""
    larger, smaller = gap.surely_above(rule.alpha), gap.surely_below(rule.alpha)
    if seeds < rule.min_seeds:
        return Outcome.TOO_FEW_SEEDS
    if accuracy.not_worse(rule) and accuracy.not_better(rule):
        return Outcome.EQUIVALENT
    if accuracy.surely_above(rule.alpha):
        return Outcome.SUPERIOR_LARGER_GAP if larger else Outcome.SUPERIOR
    if accuracy.surely_below(rule.alpha):
        return Outcome.SMALLER_GAP_LOWER_ACCURACY if smaller else Outcome.INFERIOR
    if accuracy.not_worse(rule):
        return Outcome.NON_INFERIOR_SMALLER_GAP if smaller else Outcome.NON_INFERIOR
    return Outcome.SMALLER_GAP if smaller else Outcome.TOO_WIDE


def verdict(
    names: tuple[str, str, str], accuracy: Finding, gap: Finding, seeds: int, rule: Rule, synthetic: bool
) -> Verdict:
    """The outcome in words; `names` are arm, reference and protocol."""
    arm, reference, protocol = names
    outcome, place = judge(accuracy, gap, seeds, rule), f"{arm}-{protocol}"
    opening = f"{arm} against {reference}, {FinetuneProtocol(protocol).description}: {outcome}."
    difference = points_with_interval(accuracy.interval, rule.confidence)
    found = f"Test balanced accuracy differs by {difference}, {_p(accuracy.differs)}."
    difference = value_with_interval(gap.interval, rule.confidence)
    gaps = f"The overfitting gap (loss) differs by {difference}, {_p(gap.differs)}."
    claims = (
        Claim(mark_synthetic(opening, synthetic), f"comparison-{place}"),
        Claim(found, f"difference-{place}"),
        *_beside_margin(accuracy, outcome, rule, place),
        Claim(gaps, f"gap-difference-{place}"),
        Claim(_counted(outcome, seeds, rule), "rule"),
    )
    return Verdict(outcome, claims)


def _beside_margin(accuracy: Finding, outcome: Outcome, rule: Rule, place: str) -> tuple[Claim, ...]:
    """What was asked of the margin, where the outcome rests on it."""
    margin = f"{100 * rule.margin:g} points"
    told = {
        Outcome.EQUIVALENT: f"Not more than {margin} worse: {_p(accuracy.above_margin)}; nor better: "
        f"{_p(accuracy.below_margin)}.",
        Outcome.NON_INFERIOR: f"Not more than {margin} worse: {_p(accuracy.above_margin)}.",
        Outcome.TOO_WIDE: f"Neither a difference nor that it is within {margin} is shown.",
    }
    told[Outcome.NON_INFERIOR_SMALLER_GAP] = told[Outcome.NON_INFERIOR]
    return (Claim(told[outcome], f"margin-{place}"),) if outcome in told else ()


def _counted(outcome: Outcome, seeds: int, rule: Rule) -> str:
    counted = f"From {seeds} seed{'s' * (seeds != 1)}"
    if outcome is Outcome.TOO_FEW_SEEDS:
        return f"{counted}; compare.min_seeds asks for {rule.min_seeds}."
    return f"{counted}, with a margin of ±{100 * rule.margin:g} points."


def _p(value: float) -> str:
    return f"p {p_value(value)} after Holm"


def recommend(candidates: list[Candidate], classes: int, seeds: int, rule: Rule, synthetic: bool) -> Recommendation:
    """The candidate with the highest val balanced accuracy; test can only take the recommendation back."""
    best = max(candidates, key=lambda candidate: candidate.val)  # the first named wins a tie
    reason = _why_not(best, classes, seeds, rule, synthetic)
    opening = f"No recommendation: {reason}." if reason else f"Deploy {best.name}, by its run {best.run}."
    test = f"{100 * best.test.mean:.1f} %"
    test += f" ({100 * best.test.low:.1f} to {100 * best.test.high:.1f})" if best.test.known else ""
    claims = (
        Claim(mark_synthetic(opening, synthetic), f"val-{best.name}"),
        Claim(
            f"{best.name} has the highest mean balanced accuracy on val: {100 * best.val:.1f} %.", f"val-{best.name}"
        ),
        Claim(f"On test it reaches {test}.", f"test-{best.name}"),
    )
    return Recommendation(not reason, best.name, best.run, claims)


def _why_not(best: Candidate, classes: int, seeds: int, rule: Rule, synthetic: bool) -> str:
    """What speaks against deploying anything; empty where nothing does."""
    if synthetic:
        return "drawings say nothing about patients"
    if seeds < rule.min_seeds:
        return f"{seeds} seed{'s' * (seeds != 1)}, compare.min_seeds asks for {rule.min_seeds}"
    if not best.test.low > 1 / classes:
        return f"on test it is not surely better than guessing ({100 / classes:.1f} %)"
    return ""
