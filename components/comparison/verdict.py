"""From numbers to sentences by rules that are fixed before the numbers are seen.

A verdict rests on two differences, arm minus reference: test balanced accuracy, and the overfitting gap (val loss minus
train loss) at the last epoch that all runs of the protocol have. `outcomes` holds the rules. Every sentence names the
element of the page that shows its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.base.run_id import RunId
from components.comparison.against_null import AgainstNull
from components.comparison.outcomes import EstimatedDifference, Learned, Outcome, judge
from components.report.formatting import p_value
from components.report.wording import Claim, join_claims, mark_synthetic, points_with_interval, value_with_interval
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule


@dataclass(frozen=True)
class Verdict:
    """One comparison's outcome, and the sentences that state it with their numbers."""

    outcome: Outcome
    warnings: tuple[str, ...]
    """What the first sentence says against arm and reference: null lines, alarms, baselines."""
    claims: tuple[Claim, ...]

    @property
    def sentence(self) -> str:
        """The claims as plain text."""
        return join_claims(self.claims)


def verdict(
    run: RunId,
    accuracy: EstimatedDifference,
    gap: EstimatedDifference,
    question: StudyQuestion,
    *,
    arm: AgainstNull,
    reference: AgainstNull,
) -> Verdict:
    """The outcome in sentences.

    Args:
        run: any run of the arm under the protocol that is compared.
        accuracy: difference in test balanced accuracy.
        gap: difference in the gap in loss at the last common epoch.
        question: gives reference, seeds and rule.
        arm: against null lines and baselines; its small gap counts only where it gets credit.
        reference: the same of the reference.
    """
    rule, seeds = question.rule, len(question.seeds)
    outcome = judge(accuracy, gap, seeds, rule, Learned(arm.gets_credit, reference.gets_credit))
    about_arm = arm.about(run.arm, question.reference, rule.confidence)
    about_reference = reference.about(question.reference, run.arm, rule.confidence)
    warnings = tuple(filter(None, (about_arm, about_reference)))
    opening = "; ".join(
        [f"{run.arm} against {question.reference}, {run.protocol.description}: {outcome.name}", *warnings]
    )
    difference = points_with_interval(accuracy.interval, rule.confidence)
    gap_difference = value_with_interval(gap.interval, rule.confidence)
    claims = (
        Claim(mark_synthetic(f"{opening}.", question.synthetic), f"comparison-{run.model}"),
        Claim(_fill_in(outcome.sentence, question), f"margin-{run.model}"),
        Claim(f"Test balanced accuracy differs by {difference}, {_holm(accuracy.differs)}.", f"difference-{run.model}"),
        Claim(_about_margin(accuracy, rule), f"margin-{run.model}"),
        Claim(
            f"The overfitting gap (loss) differs by {gap_difference}, {_holm(gap.differs)}.",
            f"gap-difference-{run.model}",
        ),
        Claim(_about_seeds(seeds, rule), "rule"),
    )
    return Verdict(outcome, warnings, claims)


def _fill_in(sentence: str, question: StudyQuestion) -> str:
    return sentence.format(margin=_points(question.rule), tests=f"{question.tests} tests")


def _points(rule: Rule) -> str:
    return f"{100 * rule.margin:g} points"


def _about_margin(accuracy: EstimatedDifference, rule: Rule) -> str:
    """The tests against the margin."""
    worse, better = _holm(accuracy.above_margin), _holm(accuracy.below_margin)
    return f"Tests of the margin: not {_points(rule)} worse, {worse}; not {_points(rule)} better, {better}."


def _about_seeds(seeds: int, rule: Rule) -> str:
    counted = f"From {seeds} seed{'s' * (seeds != 1)}"
    if seeds < rule.min_seeds:
        return f"{counted}; compare.min_seeds requires {rule.min_seeds}."
    if rule.look:
        counted += f", look {rule.look.number} of {len(rule.look.planned)}, decided at level {rule.alpha:g}"
    return f"{counted}, with a margin of ±{_points(rule)}."


def _holm(value: float) -> str:
    return f"p {p_value(value)} after Holm"
