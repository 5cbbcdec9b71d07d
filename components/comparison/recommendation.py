"""Which model is the best candidate for external testing: val chooses, test results can only withdraw the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.report.wording import Claim, join_claims, mark_synthetic
from components.statistics.intervals import Interval
from components.statistics.question import StudyQuestion

FEW_LESIONS = 10
"""Test lesions of a class below which its sensitivity is too uncertain to use."""


@dataclass(frozen=True)
class Candidate:
    """What the recommendation uses of one arm under one protocol."""

    name: str
    val: float
    """Mean balanced accuracy on val; it chooses."""
    run: str
    """The seed's run with the best balanced accuracy on val."""
    test: Interval
    """Balanced accuracy of that run on test, over lesions; it is reported and never chooses."""
    inferior_to: str = ""
    """The arm to which a verdict calls it inferior; empty where no verdict does."""
    warning: str = ""
    """What the first sentence says of baselines; empty where it is significantly above all of them."""
    below: str = ""
    """The baseline that it is significantly below on test; empty where there is none."""


@dataclass(frozen=True)
class Recommendation:
    """The best candidate for external testing, or why there is none; `chosen` and `run` name what val chose."""

    recommended: bool
    chosen: str
    run: str
    test: Interval
    """Of `run`, over lesions."""
    claims: tuple[Claim, ...]

    @property
    def sentence(self) -> str:
        """The claims as plain text."""
        return join_claims(self.claims)


def recommend(candidates: Sequence[Candidate], question: StudyQuestion, lesions: Mapping[str, int]) -> Recommendation:
    """The candidate with the highest balanced accuracy on val, unless there is a reason against it.

    Args:
        candidates: every arm and protocol; of equal ones the first is chosen.
        question: gives classes, seeds and the decision rule.
        lesions: test lesions (or patients) by class.
    """
    best = max(candidates, key=lambda candidate: candidate.val)
    reason = _reason_against(best, question, lesions)
    warning = f"; {best.warning}" * bool(best.warning)
    opening = reason or f"Best candidate for external testing: {best.name}, run {best.run}{warning}."
    test = f"{100 * best.test.mean:.1f} %"
    test += f" ({100 * best.test.low:.1f} to {100 * best.test.high:.1f})" if best.test.known else ""
    chosen_by = f"{best.name} has the highest mean balanced accuracy on val: {100 * best.val:.1f} %."
    claims = (
        Claim(mark_synthetic(opening, question.synthetic), f"val-{best.name}"),
        Claim(chosen_by, f"val-{best.name}"),
        Claim(f"On test, this run reaches {test}.", f"test-{best.name}"),
    )
    return Recommendation(not reason, best.name, best.run, best.test, claims)


def _reason_against(best: Candidate, question: StudyQuestion, lesions: Mapping[str, int]) -> str:
    """A sentence that says why nothing is recommended; empty where something is."""
    seeds, classes = len(question.seeds), len(question.classes)
    few = [f"{name} ({count})" for name, count in lesions.items() if count < FEW_LESIONS]
    if question.synthetic:
        return "No recommendation: synthetic images are no evidence about patients."
    if seeds < question.rule.min_seeds:
        counted = f"{seeds} seed{'s' * (seeds != 1)}"
        return f"Recommendation not decided: {counted}, compare.min_seeds requires {question.rule.min_seeds}."
    if few:
        return (
            f"Recommendation not decided: fewer than {FEW_LESIONS} test lesions of {', '.join(few)}; "
            "more test lesions are needed."
        )
    if not best.test.low > 1 / classes:
        chance = f"{100 / classes:.1f} %"
        return f"No recommendation: on test, run {best.run} is not significantly better than chance ({chance})."
    if not best.test.low < best.test.high:
        return (
            f"Recommendation not decided: run {best.run} has the same result in every resample of the test lesions, so "
            "its uncertainty is not known; more test lesions are needed, and a check for images that are also in train."
        )
    if best.below:
        return f"No recommendation: {best.name} is best on val, but on test {best.warning}."
    if best.inferior_to:
        return (
            f"No recommendation: {best.name} is best on val, but its verdict on test is inferior to {best.inferior_to}."
        )
    return ""
