"""Sentences that pages have in common: a claim with a link to its numbers, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from components.report.formatting import decimals
from components.statistics.intervals import Interval
from components.statistics.question import StudyQuestion
from components.statistics.significance import resamples_needed, smallest_adjusted_p


@dataclass(frozen=True)
class Claim:
    """One sentence of a result, and the id of the page element that shows its numbers."""

    text: str
    anchor: str


def join_claims(claims: Iterable[Claim]) -> str:
    """The sentences as one text."""
    return " ".join(claim.text for claim in claims)


def mark_synthetic(sentence: str, synthetic: bool) -> str:
    """The sentence, which begins with a warning if the images are synthetic."""
    return f"SYNTHETIC, pipeline check, not evidence: {sentence}" if synthetic else sentence


def of_units(groups: int, unit: str, lesions: int | None = None) -> str:
    """Whose the images are, behind their number: ` of 84 lesions`, ` of 84 lesions of 60 patients`; empty without ids.

    Args:
        groups: what is resampled whole.
        unit: `StudyQuestion.unit`, the name of these.
        lesions: where they are known besides patients.
    """
    if unit == "images":
        return ""
    several = f" of {lesions:,} lesions" if lesions is not None and unit != "lesions" else ""
    return f"{several} of {groups:,} {unit}"


def points_with_interval(interval: Interval, confidence: float) -> str:
    """A difference of shares in percentage points: `+2.1 points (95 % interval −0.3 to +4.5)`.

    Args:
        interval: of a difference of shares, in [-1, 1].
        confidence: of the interval, in (0, 1).
    """
    in_points = Interval(100 * interval.mean, 100 * interval.low, 100 * interval.high)
    return _with_interval(in_points, confidence, digits=1, unit=" points")


def value_with_interval(interval: Interval, confidence: float) -> str:
    """A difference in its own unit: `−0.052 (95 % interval −0.080 to −0.024)`; arguments as above."""
    return _with_interval(interval, confidence, digits=3, unit="")


def _with_interval(interval: Interval, confidence: float, *, digits: int, unit: str) -> str:
    mean, low, high = (decimals(value, digits, sign=True) for value in (interval.mean, interval.low, interval.high))
    ends = f"{100 * confidence:g} % interval {low} to {high}" if interval.known else "no interval"
    return f"{mean}{unit} ({ends})"


def about_smallest_p(question: StudyQuestion, tests: int, what: str) -> str:
    """The smallest p-value that any test of a family can have, and whether more resamples were drawn for it.

    Args:
        question: gives the resamples behind each p-value, and alpha.
        tests: size of the family that Holm's correction is over.
        what: the tests of the family, in words: `comparisons of single corruptions`.
    """
    drawn, asked, alpha = question.resamples, question.too_few, question.rule.alpha
    sentence = (
        f"{tests:,} {what} with {drawn:,} resamples: the smallest possible p after Holm's correction is "
        f"{smallest_adjusted_p(drawn, tests):.2g}."
    )
    if asked is None or asked >= resamples_needed(tests, alpha):
        return sentence
    return (
        f"{sentence} With the {asked:,} of compare.resamples it would be {smallest_adjusted_p(asked, tests):.2g}, "
        f"above {alpha:g}, so that none could be significant: more were drawn."
    )
