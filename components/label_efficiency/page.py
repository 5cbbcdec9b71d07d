"""The page of one protocol's learning curves over lesions: the answer in words, the curves, every number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from components.base.run_id import FinetuneProtocol
from components.label_efficiency import figure as curves
from components.label_efficiency.analysis import LEADING, METRICS, Answer, Efficiency, Outcome, Place
from components.report import page
from components.report.figures import arm_colours
from components.report.formatting import interval_range, percent, points
from components.statistics.intervals import Interval
from components.statistics.runs import FINGERPRINTS

NAMES = {"balanced_accuracy": "Balanced accuracy", "macro_auroc": "Macro AUROC"}

NONE = "no crossing"

TONES = {Outcome.WITHIN: "good", Outcome.BELOW: "even", Outcome.BEYOND: "even"}


def summary(found: Efficiency) -> list[str]:
    """The answer in words: two sentences an arm, about balanced accuracy."""
    spoken = [each for each in found.answers if each.metric == LEADING]
    return [text for each in spoken for text in (crossing(each, found), enough(each, found))]


def crossing(answer: Answer, found: Efficiency) -> str:
    """Whether and where the arm's curve crosses the reference's."""
    place, reference = answer.crossing, found.plan.reference
    sides = ("ahead of", "behind") if answer.ahead else ("behind", "ahead of")
    least, most = (f"{count:,}" for count in (found.lesions[0], found.train_lesions))
    if np.isfinite(place.share):
        about = f"about {_lesions(found, place.share):,} train lesions"
        means = f"{answer.arm} is {sides[0]} {reference} with more than {about}, and {sides[1]} it with fewer"
        means += (
            f" (the curves cross {answer.turns} times: this is where a steady difference would)"
            if answer.turns > 1
            else ""
        )
    elif np.isposinf(place.share):
        means = f"{answer.arm} and {reference} are equal with all {most} train lesions"
    elif answer.turns:
        means = f"{answer.arm} is {sides[0]} {reference} by a steady difference over {least} to {most} train lesions"
    else:
        means = f"{answer.arm} is {sides[0]} {reference} with every number of train lesions tried, {least} to {most}"
    outside = f"no crossing within the range in {_share(place.outside)} of resamples"
    if place.outcome is Outcome.WITHIN:
        return f"{means} (interval {_ends(place, found)}; {outside})."
    if place.outcome is Outcome.BELOW:
        return f"{means}: the curves do not cross there ({outside})."
    return (
        f"{_undecided(place, found)} On the means {means} (interval of the crossing {_ends(place, found)}; {outside})."
    )


def enough(answer: Answer, found: Efficiency) -> str:
    """How many lesions the arm needs for what the reference reaches with all."""
    place, arm, reference = answer.enough, answer.arm, found.plan.reference
    target = f"what {reference} reaches with all {found.train_lesions:,}"
    if np.isposinf(place.share):
        means = f"{arm} does not reach with all lesions {target}"
    elif np.isneginf(place.share):
        means = f"{arm} reaches with {found.lesions[0]:,} lesions or fewer {target}"
    else:
        about = f"{_lesions(found, place.share):,} lesions ({100 * place.share:.0f} %)"
        means = f"{arm} reaches with about {about} {target}"
    if place.outcome is Outcome.WITHIN:
        return f"{means} (interval {_ends(place, found)})."
    if place.outcome in (Outcome.BELOW, Outcome.BEYOND):
        return (
            f"{means} (so in {_share(place.below if place.outcome is Outcome.BELOW else place.beyond)} of resamples)."
        )
    return f"{_undecided(place, found)} On the means {means} (interval {_ends(place, found)})."


def _undecided(place: Place, found: Efficiency) -> str:
    if place.outcome is Outcome.TOO_FEW_SEEDS:
        count = len(found.plan.seeds)
        return (
            f"Not decided: {count} seed{'s' if count > 1 else ''}, compare.min_seeds asks for {found.plan.min_seeds}."
        )
    return "Not decided: the interval is too wide."


def _lesions(found: Efficiency, share: float) -> int:
    return round(share * found.train_lesions)


def _ends(place: Place, found: Efficiency) -> str:
    """`120 to 400`, `fewer than 60 to 200`, `150 to more than 900`: lesions."""
    words = {
        -np.inf: f"fewer than {found.lesions[0]:,}",
        np.inf: f"more than {found.train_lesions:,}",
    }
    low, high = (words.get(end) or f"{_lesions(found, end):,}" for end in (place.low, place.high))
    return f"{low} to {high} lesions" if low != high else f"{low} lesions"


def _share(share: float) -> str:
    """`37 %`; never 0 or 100 unless it is."""
    shown = round(100 * share)
    if 0 < share < 1 and shown in (0, 100):
        return "less than 1 %" if shown == 0 else "more than 99 %"
    return f"{shown} %"


def draw_figures(found: Efficiency) -> dict[str, Figure]:
    """Curves and paired differences by name; the names are also the files' names in MLflow."""
    plan, colours = found.plan, arm_colours(found.plan.arms)
    figures = {}
    for metric in METRICS:
        own = {arm: [p.scores[metric] for p in found.points if p.arm == arm] for arm in plan.arms}
        apart = {arm: [p.differences[metric] for p in found.points if p.arm == arm] for arm in plan.challengers}
        title = NAMES[metric].replace("Balanced", "balanced").replace("Macro", "macro")
        figures[f"efficiency-{metric}"] = curves.draw(found.lesions, own, f"test {title}, %", colours, unit=100)
        if apart:
            label = f"minus {plan.reference}, points"
            figures[f"efficiency-{metric}-difference"] = curves.draw(
                found.lesions, apart, label, colours, unit=100, line=0.0
            )
    return figures


def render(found: Efficiency, figures: Mapping[str, Figure]) -> str:
    """The whole page; the same findings give the same bytes."""
    return page.render(
        "label_efficiency/page.html.j2",
        {"percent": percent, "points": points, "ends": ends, "whole": _share},
        found=found,
        plan=found.plan,
        answers=summary(found),
        protocol=FinetuneProtocol(found.plan.protocol).description,
        colours=arm_colours(found.plan.arms),
        figures={name: page.inline_svg(figure, name, name.replace("-", " ")) for name, figure in figures.items()},
        names=NAMES,
        meanings=FINGERPRINTS,
        rows=[row for each in found.answers for row in _rows(each, found)],
    )


@dataclass(frozen=True)
class Row:
    """One question about an arm, as the table has it."""

    arm: str
    metric: str
    question: str
    middle: str  # on the means
    ends: str
    outside: float
    answer: str
    tone: str
    turns: int


def _rows(answer: Answer, found: Efficiency) -> list[Row]:
    rows = []
    for question, place in (("crossing", answer.crossing), ("enough", answer.enough)):
        crosses = question == "crossing"  # curves do not cross within the range if they do so below it
        middle = replace(place, low=place.share, high=place.share)
        at, reach = (NONE if crosses and np.isneginf(each.high) else _ends(each, found) for each in (middle, place))
        said = NONE if crosses and place.outcome is Outcome.BELOW else str(place.outcome)
        tone, turns = TONES.get(place.outcome, "none"), answer.turns if crosses else 0
        rows.append(Row(answer.arm, answer.metric, question, at, reach, place.outside, said, tone, turns))
    return rows


def ends(interval: Interval, signed: bool = False) -> str:
    """`low to high`, or that there is no interval."""
    return interval_range(interval, points if signed else percent)
