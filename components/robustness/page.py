"""The page of damage and shortcuts: what bad pictures cost, and what models know without the lesion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from components.base.run_id import DESCRIPTIONS, FinetuneProtocol
from components.report import page
from components.report.figures import arm_colours, arms, examples
from components.report.formatting import interval_range, number, p_value, percent, points
from components.robustness import figure as damage_figure
from components.robustness.analysis import TESTED, Robustness, Sheet, Shortcut, Versus, of_protocol
from components.robustness.corruptions import STRENGTHS, corruptions
from components.robustness.occlusion import PICTURES
from components.statistics.intervals import Interval

Image = np.ndarray[Any, np.dtype[np.uint8]]


TITLES = {"colour_cast": "colour cast", "jpeg": "JPEG"}
"""What a kind is called where its file's name would not say it."""


def title(kind: str) -> str:
    """A kind of damage in words."""
    return TITLES.get(kind, kind.replace("_", " "))


# --- in words: what claims, claims only where the interval does


def sentences(robustness: Robustness) -> list[str]:
    """The answer, three sentences an arm and protocol: what damage costs, against the reference, and shortcuts."""
    return [
        line
        for sheet in robustness.sheets
        for line in (_cost(sheet, robustness), *_difference(sheet, robustness), _knows(sheet, robustness))
    ]


def named(sheet: Sheet) -> str:
    """`vae, encoder frozen`."""
    return f"{sheet.arm}, {FinetuneProtocol(sheet.protocol).description}"


def _cost(sheet: Sheet, robustness: Robustness) -> str:
    found = f"{percent(sheet.drop.mean)} points of balanced accuracy ({interval_range(sheet.drop, points)})"
    if not sheet.drop.known or sheet.drop.low <= 0:
        return f"{named(sheet)}: no loss under damage is sure; on average {found}."
    worst = sheet.worst
    most = f"largest under {title(worst.name)}: {percent(worst.drop.mean)} ({interval_range(worst.drop, points)})"
    if robustness.seeds < robustness.plan.min_seeds:
        return f"{named(sheet)}: what damage costs is not decided: too few seeds; on average {found}."
    return f"{named(sheet)}: damage costs {found} on average; {most}, the worst of {len(sheet.kinds)} kinds."


def _difference(sheet: Sheet, robustness: Robustness) -> list[str]:
    if sheet.versus is None:
        return []
    reference, seeds, least = robustness.plan.reference, robustness.seeds, robustness.plan.min_seeds
    interval = sheet.versus.interval
    ends, p = interval_range(interval, points), p_value(sheet.versus.holm)
    found = f"{points(interval.mean)} points ({ends}; p {p} after Holm)"
    if seeds < least:
        return [f"Whether {named(sheet)} loses more than {reference} is not decided: {seeds} of {least} seeds."]
    first = f"Whether {named(sheet)} loses more or less than {reference} is not decided: {found}."
    if sheet.versus.sure:
        first = f"{named(sheet)} loses surely {_more(interval)} than {reference}: {found}."
    kinds = [
        f"{_more(kind.versus.interval)} under {title(kind.name)}"
        for kind in sheet.kinds
        if kind.versus is not None and kind.versus.sure
    ]
    return [f"{first} By kind surely {', '.join(kinds)}." if kinds else first]


def _more(interval: Interval) -> str:
    return "more" if interval.mean > 0 else "less"


def _knows(sheet: Sheet, robustness: Robustness) -> str:
    """A shortcut is said only where a test says it; that there is none is never said."""
    tested = [each for each in sheet.shortcuts if each.picture in TESTED and each.accuracy is not None]
    sure = [each for each in tested if each.sure]
    if not tested:
        return f"{named(sheet)}: too few lesions to say what it knows with the lesion hidden."
    if robustness.seeds < robustness.plan.min_seeds:
        return f"{named(sheet)}: what it knows with the lesion hidden is not decided: too few seeds."
    if not sure:
        found = "; ".join(_level(each) for each in tested)
        return f"{named(sheet)}: with the lesion hidden nothing is surely above guessing ({found})."
    found = "; ".join(_level(each) for each in sure)
    box = " or by the size of the box" if any(each.picture == "without_lesion" for each in sure) else ""
    return f"{named(sheet)} is surely above guessing with the lesion hidden, by a shortcut, by context{box}: {found}."


def _level(shortcut: Shortcut) -> str:
    """Both numbers of one picture against guessing."""
    parts = []
    if shortcut.accuracy is not None:
        each = shortcut.accuracy
        parts.append(
            f"{percent(each.interval.mean)} % ({interval_range(each.interval, percent)}), "
            f"guessing {percent(each.guessing)} %"
        )
    if shortcut.auroc is not None:
        parts.append(
            f"AUROC {number(shortcut.auroc.interval.mean)} ({interval_range(shortcut.auroc.interval, number)})"
        )
    return f"{PICTURES[shortcut.picture]} {', '.join(parts)}"


# --- in pictures


def draw_figures(robustness: Robustness) -> dict[str, Figure]:
    """Every measured figure by name; the names are also the files' names in MLflow."""
    plan = robustness.plan
    colours = arm_colours(plan.arms)
    found: dict[str, Figure] = {}
    limits = _limits(robustness)
    for protocol in plan.protocols:
        sheets = list(of_protocol(robustness, protocol))
        for place, kind in enumerate(plan.kinds):
            curves = {
                sheet.arm: [(0, sheet.clean), *((p.strength, p.accuracy) for p in sheet.kinds[place].points)]
                for sheet in sheets
            }
            found[f"damage-{kind}-{protocol}"] = damage_figure.draw(curves, colours, 1 / len(plan.classes), limits)
    drops = [arms.Dot(_short(sheet), colours[sheet.arm], *_ends(sheet.drop, 100)) for sheet in robustness.sheets]
    found["mean-drop"] = arms.draw(drops, "drop of balanced accuracy, points", 0.0)
    for place, shortcut in enumerate(robustness.sheets[0].shortcuts):
        if shortcut.accuracy is not None:
            dots = [_shortcut_dot(sheet, place, colours[sheet.arm]) for sheet in robustness.sheets]
            words = f"balanced accuracy, {PICTURES[shortcut.picture]}"
            found[f"shortcut-{shortcut.picture}"] = arms.draw(dots, words, shortcut.accuracy.guessing)
    return found


def _limits(robustness: Robustness) -> tuple[float, float]:
    """One axis for all kinds."""
    intervals = [
        each for sheet in robustness.sheets for kind in sheet.kinds for each in (p.accuracy for p in kind.points)
    ]
    values = [value for each in (*intervals, *(sheet.clean for sheet in robustness.sheets)) for value in _ends(each, 1)]
    known = [value for value in values if np.isfinite(value)] + [1 / len(robustness.plan.classes)]
    return max(0.0, min(known) - 0.03), min(1.0, max(known) + 0.03)


def _short(sheet: Sheet) -> str:
    return f"{sheet.arm}, {sheet.protocol}"


def _ends(interval: Interval, unit: float) -> tuple[float, float, float]:
    return unit * interval.mean, unit * interval.low, unit * interval.high


def _shortcut_dot(sheet: Sheet, place: int, colour: str) -> arms.Dot:
    number_of = sheet.shortcuts[place].accuracy
    interval = Interval(float("nan"), float("nan"), float("nan")) if number_of is None else number_of.interval
    return arms.Dot(_short(sheet), colour, *_ends(interval, 1))


def draw_damage(clean: Image, damaged: Mapping[str, Sequence[Image]], strengths: Sequence[int]) -> Figure:
    """One test image (S, S, 3) under each kind, a column a strength."""
    rows = [[clean, *damaged[kind]] for kind in damaged]
    return examples.draw(rows, [title(kind) for kind in damaged], ["clean", *(str(each) for each in strengths)])


def draw_hidden(images: Sequence[Image], hidden: Mapping[str, Sequence[Image]]) -> Figure:
    """Some test images as packed, and with this or that hidden: a column an image."""
    rows = {"as packed": images, **{PICTURES[name].replace("the ", ""): each for name, each in hidden.items()}}
    return examples.draw(list(rows.values()), list(rows), [""] * len(images))


# --- as a page


def render(robustness: Robustness, figures: Mapping[str, Figure]) -> str:
    """The whole page; `figures` hold those of `draw_figures`, and `damage-examples` and `hidden-examples`."""
    plan = robustness.plan
    return page.render(
        "robustness/page.html.j2",
        {
            "percent": percent,
            "points": points,
            "number": number,
            "interval_range": interval_range,
            "p": p_value,
            "title": title,
        },
        robustness=robustness,
        plan=plan,
        colours=arm_colours(plan.arms),
        figures={name: page.inline_svg(figure, name, name.replace("-", " ")) for name, figure in figures.items()},
        claims=[_claims(sheet, robustness) for sheet in robustness.sheets],
        kinds={name: kind for name, kind in corruptions().items() if name in plan.kinds},
        strengths=STRENGTHS,
        pictures=PICTURES,
        tested=TESTED,
        protocols=DESCRIPTIONS,
        chip=_chip,
        percent_form=percent,
        points_form=points,
        number_form=number,
    )


def _claims(sheet: Sheet, robustness: Robustness) -> tuple[Sheet, list[str]]:
    return sheet, [_cost(sheet, robustness), *_difference(sheet, robustness), _knows(sheet, robustness)]


def _chip(versus: Versus) -> tuple[str, str]:
    """Colour and word of a difference."""
    if not versus.sure:
        return "none", "not decided"
    return ("bad", "surely more") if versus.interval.mean > 0 else ("good", "surely less")
