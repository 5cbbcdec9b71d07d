"""A cross-validation in sentences: verdicts, which data they are about, what they assume."""

from __future__ import annotations

from components.comparison.overfitting_gap import DECIDING_GAP
from components.cross_validation.analysis import CrossValidation, PooledDifference
from components.report.formatting import p_value
from components.report.wording import (
    Claim,
    join_claims,
    mark_synthetic,
    of_units,
    points_with_interval,
    value_with_interval,
)
from components.statistics.question import StudyQuestion

METHOD = "corrected resampled t test (Nadeau & Bengio 2003)"


def verdict(difference: PooledDifference, result: CrossValidation) -> tuple[Claim, ...]:
    """The outcome of one comparison, each sentence with the id of the element that shows its numbers."""
    question, rule = result.question, result.question.rule
    opening = (
        f"{difference.arm} against {question.reference}, {difference.protocol.description}, {len(result.folds)} folds: "
        f"{difference.outcome.name}."
    )
    gap = value_with_interval(difference.mean[DECIDING_GAP], rule.confidence)
    apart = points_with_interval(difference.mean["balanced_accuracy"], rule.confidence)
    worse, better = (_holm(difference, name) for name in ("above_margin", "below_margin"))
    margin, anchor = f"{100 * rule.margin:g} points", f"difference-{difference.name}"
    return (
        Claim(mark_synthetic(opening, question.synthetic), anchor),
        Claim(_meaning(difference, question), anchor),
        Claim(f"Test balanced accuracy differs by {apart}, {_holm(difference, 'differs')}.", anchor),
        Claim(f"The overfitting gap (loss) differs by {gap}, {_holm(difference, 'gap')}.", anchor),
        Claim(f"Tests of the margin: not {margin} worse, {worse}; not {margin} better, {better}.", anchor),
    )


def _meaning(difference: PooledDifference, question: StudyQuestion) -> str:
    margin = f"{100 * question.rule.margin:g} points"
    return difference.outcome.sentence.format(margin=margin, tests=f"{question.tests} tests")


def _holm(difference: PooledDifference, test: str) -> str:
    return f"p {p_value(difference.tests[test].holm)} after Holm"


def about_data(result: CrossValidation) -> str:
    """Which data the numbers are about."""
    groups = of_units(result.lesions, result.question.unit)
    seeds = len(result.question.seeds)
    return (
        f"The numbers are about all {result.images:,} accepted images with a label{groups}: each was tested once, by "
        f"models of one fold with {seeds} seed{'s' * (seeds != 1)} that had not seen its lesion or patient. They hold "
        "for this data set and its way of collecting images, and not for other clinics, cameras or skin."
    )


def assumptions(result: CrossValidation) -> list[str]:
    """What the intervals count, assume and leave out."""
    folds, ratio = len(result.folds), result.test_by_train
    return [
        f"Intervals and p-values: {METHOD} over {folds} folds with {folds - 1} degrees of freedom; differences are "
        "averaged over seeds within a fold first. So they count seeds, test lesions and train sets together.",
        f"Two folds share train lesions, so 1 / {folds} is replaced by 1 / {folds} + n_test / n_train = "
        f"{1 / folds:.3f} + {ratio:.3f}. This assumes that the differences of two folds have a correlation of "
        f"{ratio / (1 + ratio):.2f}; where the train set has a larger effect than the test lesions, the true "
        "correlation is higher and the intervals are too short. Val lesions are not counted as train lesions.",
        "The bootstrap of all lesions counts lesions and seeds alone: another train set of the same size would give "
        "another difference, and this is not in its interval. It decides nothing.",
        "Macro AUROC has no pooled value: it would rank the scores of one fold's models against those of another's.",
        "The overfitting gap is that of the loss at the last epoch that all runs of the protocol have in all folds. "
        "Its interval is by the same test, with val in the place of test: both are one fold. What the folds' train "
        "images have in common is not counted beyond that.",
        "One division into folds (split.seed): another one would give other numbers.",
    ]


def summary(result: CrossValidation) -> list[str]:
    """The answer for a terminal."""
    return [*(join_claims(verdict(each, result)) for each in result.differences), about_data(result)]
