"""The page that answers the study's question: figures and tables in one HTML file that asks nothing of the net."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from components.base.run_id import DESCRIPTIONS, FinetuneProtocol
from components.clinical.assessment import HEADLINE, Clinical
from components.clinical.subgroups import MEASURES
from components.comparison.comparison import FEW_LESIONS, Comparison, Difference, Plan, Row
from components.comparison.figures import learning_curves, overfitting_gap
from components.comparison.overfitting_gap import QUANTITIES
from components.comparison.verdict import Outcome
from components.report import page
from components.report.figures import arm_colours, arms, confusion
from components.report.formatting import MINUS, change, interval_range, number, p_value, percent, points, signed
from components.report.wording import Claim
from components.statistics.intervals import Interval
from components.statistics.power import MOST, Need
from components.statistics.runs import FINGERPRINTS, Run, by_protocol

PAPER = (
    ("VAE (self-supervised)", "0.110", MINUS + "33.33 %", "45 → 65 %", "+44.44 %", "rises with train", "", "near zero"),
    ("ImageNet", "0.100", MINUS + "16.67 %", "→ 87 %", "+50.00 %", "plateaus at 75 %", "+19.05 %", "grows to +0.060"),
)
"""Arm, final val loss, change, train accuracy, change, val accuracy, change, gap: arXiv 2505.16773, its table."""

TONES = {
    Outcome.SUPERIOR: "good",
    Outcome.SUPERIOR_LARGER_GAP: "good",
    Outcome.EQUIVALENT: "even",
    Outcome.NON_INFERIOR: "even",
    Outcome.NON_INFERIOR_SMALLER_GAP: "good",
    Outcome.SMALLER_GAP_LOWER_ACCURACY: "mixed",
    Outcome.SMALLER_GAP: "mixed",
    Outcome.INFERIOR: "bad",
}
"""The chip's colour; what is not decided has none."""

PAGES = {
    "robustness.html": "damaged pictures and shortcuts",
    "explanations.html": "what lies behind single answers",
    "model_card.html": "model card",
    "data_sheet.html": "data sheet",
    "data.html": "the data gate",
}
"""What other stages write beside this page for every study."""

TEST_COLUMNS = {
    "balanced_accuracy": "Balanced accuracy",
    "macro_auroc": "Macro AUROC",
    "accuracy": "Accuracy",
    "log_loss": "Log loss",
    "ece": "Calibration error",
}


GAP_COLUMNS = {
    "gap/loss": f"Loss, val {MINUS} train",
    "gap/accuracy": f"Accuracy, train {MINUS} val, points",
    "gap/balanced_accuracy": "Balanced accuracy, points",
    "gap/macro_auroc": "Macro AUROC, points",
}


def draw_figures(comparison: Comparison, runs: Sequence[Run]) -> dict[str, Figure]:
    """Every figure of the page by name; the names are also the files' names in MLflow."""
    colours = arm_colours(comparison.plan.arms)
    found: dict[str, Figure] = {}
    for protocol, sheet in by_protocol(runs).items():
        curves = {arm: [run.curve for run in group] for arm, group in sheet.items()}
        for quantity in ("loss", "accuracy"):
            found[f"curves-{quantity}-{protocol}"] = learning_curves.draw(curves, quantity, colours)
        for quantity in QUANTITIES:
            begun = comparison.plan.onset if quantity == "loss" else None
            found[f"gap-{quantity}-{protocol}"] = overfitting_gap.draw(curves, quantity, colours, begun)
    for row in comparison.rows:
        counts = np.array(row.confusion)
        found[f"confusion-{row.name}"] = confusion.draw(counts, comparison.plan.classes, colours[row.arm])
    return found | _dots(comparison, colours)


def _dots(comparison: Comparison, colours: Mapping[str, str]) -> dict[str, Figure]:
    """Test metrics of every arm, and the paired differences where there is something to compare."""
    plan = comparison.plan
    chance = {"balanced_accuracy": 1 / len(plan.classes), "macro_auroc": 0.5}
    found = {}
    for name, line in chance.items():
        title = f"test {TEST_COLUMNS[name].lower().replace('auroc', 'AUROC')}"
        found[f"test-{name}"] = arms.draw([_test_dot(row, name, colours, plan) for row in comparison.rows], title, line)
    differences = comparison.differences
    if differences:
        title = f"balanced accuracy minus {plan.reference}'s, points"
        accuracies = [_test_dot(each, "balanced_accuracy", colours, plan, 100) for each in differences]
        found["difference-accuracy"] = arms.draw(accuracies, title, 0.0, 100 * plan.rule.margin)
        gaps = [arms.Dot(_named(each), colours[each.arm], *_ends(each.gap, 1)) for each in differences]
        found["difference-gap"] = arms.draw(gaps, f"gap (loss) minus {plan.reference}'s", 0.0)
    return found


def _test_dot(of: Row | Difference, name: str, colours: Mapping[str, str], plan: Plan, unit: float = 1) -> arms.Dot:
    """Both kinds of luck as the whisker, each alone below it."""
    interval = of.test[name]
    reaches = of.sources[name].reaches(plan.rule.confidence)
    parts = [(unit * (interval.mean - reach), unit * (interval.mean + reach)) for reach in reaches]
    return arms.Dot(_named(of), colours[of.arm], *_ends(interval, unit), parts=parts)


def _named(of: Row | Difference) -> str:
    return f"{of.arm}, {of.protocol}"


def _ends(interval: Interval, unit: float) -> tuple[float, float, float]:
    return unit * interval.mean, unit * interval.low, unit * interval.high


def render(comparison: Comparison, clinical: Clinical, figures: Mapping[str, Figure]) -> str:
    """The whole page; the same comparison gives the same bytes."""
    return page.render(
        "comparison/page.html.j2",
        {
            "percent": percent,
            "number": number,
            "change": change,
            "interval_range": interval_range,
            "points": points,
            "p": p_value,
            "begun": begun,
        },
        comparison=comparison,
        clinical=clinical,
        headline_names=HEADLINE,
        measures=MEASURES,
        pages=PAGES,
        plan=comparison.plan,
        colours=arm_colours(comparison.plan.arms),
        figures={name: page.inline_svg(figure, name, _meaning(name)) for name, figure in figures.items()},
        challengers=[arm for arm in comparison.plan.arms if arm != comparison.plan.reference],
        headline=headline(comparison),
        limits=limits(comparison),
        paper=PAPER,
        tones={str(outcome): tone for outcome, tone in TONES.items()},
        protocols=DESCRIPTIONS,
        columns=TEST_COLUMNS,
        meanings=FINGERPRINTS,
        few=FEW_LESIONS,
        gap_columns=GAP_COLUMNS,
        percent_form=percent,
        points_form=points,
        signed_form=signed,
        needs=[(each, planning(each.need, comparison.groups)) for each in comparison.differences],
    )


def _meaning(name: str) -> str:
    return name.replace("-", " ").replace("_", " ")


def headline(comparison: Comparison) -> list[Claim]:
    """The verdicts in a sentence an arm and outcome: what to read when there is time for one line."""
    plan = comparison.plan
    found: dict[tuple[str, str], list[Difference]] = {}
    for each in sorted(comparison.differences, key=lambda each: plan.arms.index(each.arm)):
        found.setdefault((each.arm, each.verdict.outcome.value), []).append(each)
    return [
        Claim(f"{arm} against {plan.reference}: {outcome} ({_protocols(same)}).", f"comparison-{same[0].name}")
        for (arm, outcome), same in found.items()
    ]


def _protocols(differences: Sequence[Difference]) -> str:
    return " and ".join(FinetuneProtocol(each.protocol).description for each in differences)


def planning(need: Need | None, groups: int) -> str:
    """What would decide it, in words."""
    if need is None:
        return "Not known: it takes a margin above zero and two seeds."
    seeds = f"{need.seeds} seeds with these lesions" if need.seeds else f"no number of seeds up to {MOST} alone"
    lesions = "no number of lesions alone"
    if need.lesions:
        lesions = f"about {math.ceil(need.lesions * groups):,} test lesions with these seeds"
    return (
        f"A true difference of {100 * need.effect:g} points is found with a chance of {100 * need.now:.0f} %. "
        f"For {100 * need.power:g} %: {seeds}, or {lesions}. "
        f"As it is, {100 * need.power:g} % of differences of {100 * need.detectable:.1f} points are found."
    )


def begun(onsets: Sequence[int | None]) -> str:
    """The epochs from which gaps have begun: `2 to 4`, and how many seeds have none."""
    known = sorted(epoch for epoch in onsets if epoch is not None)
    if not known:
        return "in no seed"
    span = f"{known[0]}" if known[0] == known[-1] else f"{known[0]} to {known[-1]}"
    return span if len(known) == len(onsets) else f"{span}; none in {len(onsets) - len(known)} of {len(onsets)} seeds"


def limits(comparison: Comparison) -> list[str]:
    """What the numbers cannot say, with the numbers that make it so."""
    plan = comparison.plan
    rare = [f"{name} ({n})" for name, n in comparison.test_lesions.items() if n < FEW_LESIONS]
    pairs = len(comparison.differences)
    lines = [
        f"One data set, one split, {sum(comparison.test_images.values()):,} test images of {comparison.groups:,} "
        "lesions or patients: the intervals say nothing about other clinics, cameras or skin.",
        f"{len(plan.seeds)} seed{'s' * (len(plan.seeds) != 1)}: the seed changes head, batches and augmentation; "
        "each encoder was pretrained once, so luck in pretraining is in no interval.",
        "The gap's interval counts seeds alone, not which images happened to be in train and val.",
        "Accuracy and log loss hold for this mix of classes: resampling keeps how many lesions each class has.",
    ]
    if rare:
        lines.append(f"Fewer than {FEW_LESIONS} test lesions: {', '.join(rare)}. Their sensitivity is hardly known.")
    if pairs > 1:
        lines.append(
            f"{pairs} comparisons: Holm's correction keeps the chance that any says superior or inferior by luck below "
            f"{100 * plan.rule.alpha:g} %, and so for each other question. It does not widen the intervals shown. "
            "The differences of AUROC, accuracy and log loss decide nothing."
        )
    if plan.synthetic:
        lines.insert(0, "The images are drawings. Nothing here is evidence about skin, lesions or pretraining.")
    return lines


def summary(comparison: Comparison) -> list[str]:
    """The answer for a terminal: verdicts, recommendation and a table narrow enough for 80 columns."""
    lines = [each.verdict.sentence for each in comparison.differences] + [comparison.recommendation.sentence]
    width = max(len(row.name) for row in comparison.rows)
    lines.append(f"{'':{width}}  val loss  train acc  val acc  gap/loss  test bal. acc")
    for row in comparison.rows:
        test = row.test["balanced_accuracy"]
        loss, train, val = (row.trends[key].last.mean for key in ("val/loss", "train/accuracy", "val/accuracy"))
        lines.append(
            f"{row.name:{width}}  {loss:8.3f}  {100 * train:7.1f} %  {100 * val:5.1f} %  "
            f"{row.gaps['gap/loss'].mean:+8.3f}  {100 * test.mean:.1f} % ({interval_range(test, percent)})"
        )
    return lines
