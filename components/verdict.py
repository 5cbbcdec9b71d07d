"""From intervals to words: one rule book, fixed before the numbers are seen.

A verdict looks at two differences, arm minus reference: test balanced accuracy, and the overfitting gap at
the last epoch (val loss minus train loss). The rules stand in `judge` in the order in which they are asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from components.statistics import Interval

MINUS = "\N{MINUS SIGN}"  # as wide as a plus

PROTOCOLS = {"frozen": "encoder frozen", "full": "whole net trained"}


class Outcome(StrEnum):
    """All that a comparison can end with."""

    BETTER = "better"
    BETTER_LARGER_GAP = "better, larger gap"
    EQUIVALENT = "equivalent within margin"
    SMALLER_GAP_LOWER_ACCURACY = "smaller gap, lower accuracy"
    SMALLER_GAP = "smaller gap, accuracy not decided"
    WORSE = "worse"
    TOO_FEW_SEEDS = "not decided: too few seeds"
    TOO_WIDE = "not decided: the interval is too wide"


@dataclass(frozen=True)
class Rule:
    """How sure a verdict must be."""

    confidence: float  # of every interval, such as 0.95
    margin: float  # balanced accuracy; differences inside it do not matter in practice
    min_seeds: int  # fewer decide nothing


@dataclass(frozen=True)
class Verdict:
    """One comparison's outcome, and the sentence that says it with its numbers."""

    outcome: Outcome
    sentence: str


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
    sentence: str


def judge(accuracy: Interval, gap: Interval, seeds: int, rule: Rule) -> Outcome:
    """The outcome of one comparison from the two differences' intervals."""
    if seeds < rule.min_seeds:
        return Outcome.TOO_FEW_SEEDS
    if -rule.margin <= accuracy.low and accuracy.high <= rule.margin:
        return Outcome.EQUIVALENT
    if accuracy.low > 0:
        return Outcome.BETTER_LARGER_GAP if gap.low > 0 else Outcome.BETTER
    if accuracy.high < 0:
        return Outcome.SMALLER_GAP_LOWER_ACCURACY if gap.high < 0 else Outcome.WORSE
    return Outcome.SMALLER_GAP if gap.high < 0 else Outcome.TOO_WIDE


def verdict(
    names: tuple[str, str, str], accuracy: Interval, gap: Interval, seeds: int, rule: Rule, synthetic: bool
) -> Verdict:
    """The outcome in one sentence; `names` are arm, reference and protocol."""
    arm, reference, protocol = names
    outcome = judge(accuracy, gap, seeds, rule)
    sentence = (
        f"{arm} against {reference}, {PROTOCOLS.get(protocol, protocol)}: {outcome}. "
        f"Test balanced accuracy {points(accuracy, rule.confidence)}, "
        f"overfitting gap (loss) {signed(gap, rule.confidence)}, {_because(outcome, seeds, rule)}."
    )
    return Verdict(outcome, mark(sentence, synthetic))


def mark(sentence: str, synthetic: bool) -> str:
    """A sentence about drawings says so before anything else."""
    return f"SYNTHETIC, plumbing check, not evidence: {sentence}" if synthetic else sentence


def points(interval: Interval, confidence: float) -> str:
    """A difference of shares in percentage points: `+2.1 points (95 % interval −0.3 to +4.5)`."""
    return _worded(100 * interval.mean, 100 * interval.low, 100 * interval.high, confidence, 1, " points")


def signed(interval: Interval, confidence: float) -> str:
    """A difference in its own unit: `−0.052 (95 % interval −0.080 to −0.024)`."""
    return _worded(interval.mean, interval.low, interval.high, confidence, 3, "")


def _worded(mean: float, low: float, high: float, confidence: float, digits: int, unit: str) -> str:
    if not Interval(mean, low, high).known:
        return f"{mean:+.{digits}f}{unit} (no interval)".replace("-", MINUS)
    words = f"{mean:+.{digits}f}{unit} ({100 * confidence:g} % interval {low:+.{digits}f} to {high:+.{digits}f})"
    return words.replace("-", MINUS)


def _because(outcome: Outcome, seeds: int, rule: Rule) -> str:
    margin = f"margin ±{100 * rule.margin:g} points"
    if outcome is Outcome.TOO_FEW_SEEDS:
        return f"from {seeds} seed{'s' * (seeds != 1)}; compare.min_seeds asks for {rule.min_seeds}"
    return f"from {seeds} seeds, {margin}"


def recommend(candidates: list[Candidate], classes: int, seeds: int, rule: Rule, synthetic: bool) -> Recommendation:
    """The candidate with the highest val balanced accuracy; test can only take the recommendation back."""
    best = max(candidates, key=lambda candidate: candidate.val)  # the first named wins a tie
    test = f"{100 * best.test.mean:.1f} %"
    test += f" ({100 * best.test.low:.1f} to {100 * best.test.high:.1f})" if best.test.known else ""
    found = f"the highest mean balanced accuracy on val ({100 * best.val:.1f} %); on test it reaches {test}"
    reason = _why_not(best, classes, seeds, rule, synthetic)
    sentence = (
        f"No recommendation: {reason}. {best.name} has {found}."
        if reason
        else f"Deploy {best.name}, by its run {best.run}: it has {found}."
    )
    return Recommendation(not reason, best.name, best.run, mark(sentence, synthetic))


def _why_not(best: Candidate, classes: int, seeds: int, rule: Rule, synthetic: bool) -> str:
    """What speaks against deploying anything; empty where nothing does."""
    if synthetic:
        return "drawings say nothing about patients"
    if seeds < rule.min_seeds:
        return f"{seeds} seed{'s' * (seeds != 1)}, compare.min_seeds asks for {rule.min_seeds}"
    if not best.test.low > 1 / classes:
        return f"on test it is not surely better than guessing ({100 / classes:.1f} %)"
    return ""
