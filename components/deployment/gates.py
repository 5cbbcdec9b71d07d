"""The gates of a promotion: each is one condition with what was found, what is required, and whether it holds.

A difference is not worse only where the unfavourable end of its paired interval is within the margin: a wide interval
passes no gate. Below the least number of test lesions nothing is decided, whatever the other gates say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from components.deployment.evidence import ACCURACY, LOG_LOSS, SPECIFICITY, Evidence, Measure
from components.deployment.settings import Promotion
from components.statistics.intervals import Interval


class Outcome(StrEnum):
    """What all gates together say."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "too little to decide"


@dataclass(frozen=True)
class Gate:
    """One condition."""

    name: str
    found: str
    required: str
    passed: bool | None
    """None: there are too few test lesions to decide."""

    @property
    def word(self) -> str:
        """`passed`, `FAILED` or `too few`."""
        return {True: "passed", False: "FAILED", None: "too few"}[self.passed]


def judge(evidence: Evidence, settings: Promotion, classes: Sequence[str]) -> tuple[Gate, ...]:
    """All gates, those without a comparison first."""
    gates = [_lesions(evidence, settings), _data_checks(evidence)]
    if settings.recommended:
        gates.append(_recommended(evidence))
    gates.append(_gap(evidence, settings))
    if evidence.measures[ACCURACY].champion is None:
        return (*gates, _above_chance(evidence, classes))
    return (*gates, *_against_champion(evidence, settings))


def conclude(gates: Sequence[Gate]) -> Outcome:
    """UNDECIDED where a gate has too few lesions, else FAILED where one fails."""
    if any(gate.passed is None for gate in gates):
        return Outcome.UNDECIDED
    return Outcome.PASSED if all(gate.passed for gate in gates) else Outcome.FAILED


def _lesions(evidence: Evidence, settings: Promotion) -> Gate:
    name = min(evidence.lesions, key=lambda each: evidence.lesions[each])
    fewest = evidence.lesions[name]
    left_out = f"; {evidence.left_out} left out, which a model was trained on" if evidence.left_out else ""
    return Gate(
        "test lesions of each class",
        f"{fewest} of {name}{left_out}",
        f"{settings.lesions} or more",
        True if fewest >= settings.lesions else None,
    )


def _data_checks(evidence: Evidence) -> Gate:
    failed = [name for name, passed in evidence.data_checks.items() if not passed]
    found = f"{len(evidence.data_checks)} measured, failed: {', '.join(failed) or 'none'}"
    return Gate("data checks", found, "all passed", bool(evidence.data_checks) and not failed)


def _recommended(evidence: Evidence) -> Gate:
    return Gate("study's verdict", evidence.recommendation, "recommends this run", evidence.recommended)


def _gap(evidence: Evidence, settings: Promotion) -> Gate:
    gap = evidence.gap
    found = "not recorded" if gap is None else f"{gap:.3f} nats"
    return Gate("overfitting gap", found, f"{settings.gap:g} nats or less", gap is not None and gap <= settings.gap)


def _above_chance(evidence: Evidence, classes: Sequence[str]) -> Gate:
    """Of a first model, which has no champion to be compared with."""
    accuracy, chance = evidence.measures[ACCURACY].candidate, 1 / len(classes)
    required = f"lower end above chance, {chance:.3f}"
    return Gate(ACCURACY, _shown(accuracy), required, accuracy.known and accuracy.low > chance)


def _against_champion(evidence: Evidence, settings: Promotion) -> Iterator[Gate]:
    """Not worse than the champion by more than a margin."""
    for name, each in evidence.measures.items():
        if name == LOG_LOSS:
            yield _not_higher(name, each, settings.log_loss)
        else:
            margins = {ACCURACY: settings.accuracy, SPECIFICITY: settings.specificity}
            yield _not_lower(name, each, margins.get(name, settings.sensitivity))


def _not_lower(name: str, measure: Measure, margin: float) -> Gate:
    found = _difference(measure)
    return Gate(
        name, _shown(found, sign=True), f"lower end {-margin:+g} or higher", found.known and found.low >= -margin
    )


def _not_higher(name: str, measure: Measure, margin: float) -> Gate:
    found = _difference(measure)
    return Gate(name, _shown(found, sign=True), f"upper end {margin:+g} or lower", found.known and found.high <= margin)


def _difference(measure: Measure) -> Interval:
    """Candidate minus champion."""
    assert measure.difference is not None
    return measure.difference


def _shown(interval: Interval, sign: bool = False) -> str:
    if not interval.known:
        return "not known"
    mean, low, high = (
        f"{each:+.3f}" if sign else f"{each:.3f}" for each in (interval.mean, interval.low, interval.high)
    )
    return f"{mean} ({low} to {high})"
