"""The comparison in sentences: headline, what a decision would need, limits of the study, summary for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from components.comparison.comparison import Comparison
from components.comparison.differences import PairedDifference
from components.comparison.overfitting_gap import DECIDING_GAP
from components.comparison.protocol import Standing
from components.comparison.recommendation import FEW_LESIONS
from components.report.formatting import interval_range, percent
from components.report.wording import Claim, about_smallest_p, of_units
from components.statistics.power import SEARCH_LIMIT, SampleSize
from components.statistics.rule import Rule


def headline(comparison: Comparison) -> list[Claim]:
    """The verdicts, one sentence an arm and outcome, with what is below the null lines."""
    question = comparison.question
    found: dict[tuple[str, str, tuple[str, ...]], list[PairedDifference]] = {}
    for each in sorted(comparison.differences, key=lambda each: question.arms.index(each.arm)):
        found.setdefault((each.arm, each.verdict.outcome.name, each.verdict.warnings), []).append(each)
    return [
        Claim(
            "; ".join(
                [
                    f"{arm} against {question.reference}: {outcome} "
                    f"({' and '.join(each.protocol.description for each in same)})",
                    *warnings,
                ]
            )
            + ".",
            f"comparison-{same[0].name}",
        )
        for (arm, outcome, warnings), same in found.items()
    ]


def high_val_losses(comparison: Comparison) -> str:
    """Runs whose kept epoch has a val loss above ln K, that of equal probabilities; empty where there is none."""
    line = math.log(len(comparison.question.classes))
    found = [
        f"{run} ({loss:.3f})" for row in comparison.rows for run, loss in row.kept_val_loss.items() if not loss <= line
    ]
    if not found:
        return ""
    return (
        f"Val loss of the kept epoch above {line:.3f} nats, which equal probabilities for all classes reach: "
        f"{', '.join(found)}. These runs learned no useful probabilities."
    )


def planning(need: SampleSize | None, groups: int) -> str:
    """How many seeds or lesions a decision would need; `groups` is the number of test lesions."""
    if need is None:
        return "Not known: it needs a margin above zero and two seeds."
    seeds = f"{need.seeds} seeds with these lesions" if need.seeds else f"no number of seeds up to {SEARCH_LIMIT} alone"
    lesions = "no number of lesions alone"
    if need.lesions:
        lesions = f"about {math.ceil(need.lesions * groups):,} test lesions with these seeds"
    return (
        f"A true difference of {100 * need.effect:g} points is found with a probability of {100 * need.now:.0f} %. "
        f"For {100 * need.power:g} %: {seeds}, or {lesions}. "
        f"With this study, {100 * need.power:g} % of differences of {100 * need.detectable:.1f} points are found."
    )


def about_look(rule: Rule) -> str:
    """At which planned look the study is, and what follows for levels and intervals; empty without looks."""
    look = rule.look
    if look is None:
        return ""
    planned = " and ".join(filter(None, (", ".join(map(str, look.planned[:-1])), str(look.planned[-1]))))
    return (
        f"Look {look.number} of {len(look.planned)}, planned with {planned} seeds: decided at level {look.alpha:g}, "
        f"the share of {look.overall:g} that this look has by plan, so that intervals have "
        f"{100 * rule.confidence:g} % confidence. "
        + (
            "It is the last one."
            if look.is_last
            else "A verdict that is decided here stands, whatever later looks show."
        )
        + (" A verdict of an earlier look stands, too." if look.number > 1 else "")
    )


def onset_range(onsets: Sequence[int | None]) -> str:
    """The epochs from which gaps stay above the limit: `2 to 4`, and how many seeds have none."""
    known = sorted(epoch for epoch in onsets if epoch is not None)
    if not known:
        return "in no seed"
    span = f"{known[0]}" if known[0] == known[-1] else f"{known[0]} to {known[-1]}"
    return span if len(known) == len(onsets) else f"{span}; none in {len(onsets) - len(known)} of {len(onsets)} seeds"


def epoch_range(epochs: Sequence[float]) -> str:
    """Positions between epochs, from the lowest seed to the highest: `2.5 to 4`."""
    ends = f"{round(min(epochs), 1):g}", f"{round(max(epochs), 1):g}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def limits(comparison: Comparison) -> list[str]:
    """What the numbers cannot show, with the numbers that limit them."""
    question = comparison.question
    rare = [f"{name} ({n})" for name, n in comparison.test_lesions.items() if n < FEW_LESIONS]
    pairs = len(comparison.differences)
    groups = of_units(comparison.groups, question.unit, comparison.known_lesions)
    lines = [
        f"One data set, one split, {sum(comparison.test_images.values()):,} test images{groups}: every interval is "
        f"over {question.unit}, and not valid for other clinics, cameras or skin.",
        f"{len(question.seeds)} seed{'s' * (len(question.seeds) != 1)}: a seed draws pretraining, head, batches and "
        "augmentation anew. " + " ".join(f"{words}." for words in pretraining_words(comparison, only_incomplete=True)),
        "The gap in macro AUROC has an interval over seeds alone; those in loss and accuracy count lesions too.",
        "Accuracy and log loss hold for this mix of classes: resampling keeps how many lesions each class has.",
    ]
    if rare:
        lines.append(f"Fewer than {FEW_LESIONS} test lesions: {', '.join(rare)}. Their sensitivity is not reliable.")
    if pairs:
        lines.append(
            f"{pairs} comparison{'s' * (pairs != 1)}, accuracy and gap of each: Holm's correction over all of them "
            f"keeps the probability that any verdict is wrong by chance at {100 * question.rule.alpha:g} % or less. It "
            "does not widen the intervals shown. The differences of AUROC, accuracy and log loss decide nothing."
        )
        lines.append(about_smallest_p(question, question.tests, "tests"))
    lines += [sentence for sentence in (high_val_losses(comparison),) if sentence]
    lines[:0] = [f"{sentence[0].upper()}{sentence[1:]}." for sentence in question.missing_ids]
    if question.synthetic:
        lines.insert(0, "The images are drawings. Nothing here is evidence about skin, lesions or pretraining.")
    return lines


def pretraining_words(comparison: Comparison, only_incomplete: bool = False) -> list[str]:
    """What the seeds vary, with all arms of which it is true: `vae, random: each seed draws ...`.

    Args:
        comparison: knows the encoders of each arm.
        only_incomplete: leave out arms whose intervals include the whole variance of the pretraining.
    """
    arms: dict[str, list[str]] = {}
    for arm, found in comparison.pretraining.items():
        if not (only_incomplete and found.is_complete):
            arms.setdefault(found.words, []).append(arm)
    return [f"{', '.join(names)}: {words}" for words, names in arms.items()]


def summary(comparison: Comparison, followed: Standing, fitness: str) -> list[str]:
    """The answer for a terminal: verdicts, recommendation, fitness for use, and a table of at most 80 columns."""
    lines = [each.verdict.sentence for each in comparison.differences] + [comparison.recommendation.sentence, fitness]
    lines += [sentence for sentence in (followed.sentence, followed.openings) if sentence]
    lines += [f"Note: {sentence}." for sentence in comparison.question.missing_ids]
    notes = (high_val_losses(comparison), about_look(comparison.question.rule))
    lines += [f"Note: {sentence}" for sentence in notes if sentence]
    width = max(len(row.name) for row in comparison.rows)
    lines.append(f"{'':{width}}  val loss  train acc  val acc  gap/loss  test bal. acc")
    for row in comparison.rows:
        test = row.test["balanced_accuracy"]
        loss, train, val = (row.trends[key].last.mean for key in ("val/loss", "train/accuracy", "val/accuracy"))
        lines.append(
            f"{row.name:{width}}  {loss:8.3f}  {100 * train:7.1f} %  {100 * val:5.1f} %  "
            f"{row.gaps[DECIDING_GAP].mean:+8.3f}  {100 * test.mean:.1f} % ({interval_range(test, percent)})"
        )
    return lines
