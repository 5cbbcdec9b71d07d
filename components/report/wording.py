"""Sentences of the pages: a claim with the cell that holds its numbers, p-values and differences in words."""

from __future__ import annotations

from dataclasses import dataclass

from components.report.formatting import MINUS
from components.statistics.intervals import Interval

PROTOCOLS = {"frozen": "encoder frozen", "full": "whole net trained", "lpft": "head first, then all"}


@dataclass(frozen=True)
class Claim:
    """One sentence, and the id of the page's cell that holds its numbers."""

    text: str
    anchor: str


def spoken(claims: tuple[Claim, ...]) -> str:
    """Claims as one text."""
    return " ".join(claim.text for claim in claims)


def shown_p(value: float) -> str:
    """A p-value with its sign: `= 0.032`, `< 0.001`."""
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


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
