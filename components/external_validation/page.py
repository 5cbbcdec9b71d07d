"""The page of one external test set: what is lost there, how its diagnoses were read, and what differs besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from matplotlib.figure import Figure

from components.external_validation import figure as drop_figure
from components.external_validation.label_map import LEAST
from components.external_validation.results import Measure, Sheet, Transfer
from components.report import page
from components.report.figures import arm_colours, arms
from components.report.formatting import DASH, interval_range, number, p_value, percent, points, signed
from components.statistics.intervals import Interval

DRAWN = ("balanced_accuracy", "macro_auroc")
"""Measures that have a figure."""


def draw_figures(transfer: Transfer) -> dict[str, Figure]:
    """Both sides of the main measures, the drops, and the drops beside the reference's."""
    colours = arm_colours(transfer.plan.arms)
    chance = {"balanced_accuracy": 1 / len(transfer.labels.compared), "macro_auroc": 0.5}
    found = {}
    for name in DRAWN:
        measure = transfer.measures[name]
        trips = [_trip(sheet, name, colours) for sheet in transfer.sheets]
        title = f"{measure.title[0].lower()}{measure.title[1:]}{', %' if measure.share else ''}"
        found[f"travel-{name}"] = drop_figure.draw(trips, title, chance[name], 100 if measure.share else 1)
    drops = [(sheet, sheet.changes["balanced_accuracy"].drop) for sheet in transfer.sheets]
    found["travel-drop"] = arms.draw([_dot(*each, colours) for each in drops], "external minus internal, points", 0.0)
    beside = [(sheet, sheet.changes["balanced_accuracy"].against) for sheet in transfer.sheets]
    dots = [_dot(sheet, interval, colours) for sheet, interval in beside if interval is not None]
    if dots:
        found["travel-against"] = arms.draw(dots, f"change minus {transfer.plan.reference}'s, points", 0.0)
    return found


def _trip(sheet: Sheet, name: str, colours: Mapping[str, str]) -> drop_figure.Trip:
    change = sheet.changes[name]
    return drop_figure.Trip(f"{sheet.arm}, {sheet.protocol}", colours[sheet.arm], change.internal, change.external)


def _dot(sheet: Sheet, found: Interval, colours: Mapping[str, str]) -> arms.Dot:
    ends = (100 * found.mean, 100 * found.low, 100 * found.high)
    return arms.Dot(f"{sheet.arm}, {sheet.protocol}", colours[sheet.arm], *ends)


def render(transfer: Transfer, figures: Mapping[str, Figure]) -> str:
    """The whole page; the same answer gives the same bytes."""
    return page.render(
        "external_validation/page.html.j2",
        {"value": value, "change": change, "between": between, "percent": percent, "p": p_value},
        transfer=transfer,
        plan=transfer.plan,
        labels=transfer.labels,
        measures={key: each for key, each in transfer.measures.items() if not key.startswith("sensitivity.")},
        by_class={key: each for key, each in transfer.measures.items() if key.startswith("sensitivity.")},
        least=LEAST,
        colours=arm_colours(transfer.plan.arms),
        figures={name: page.inline_svg(figure, name, name.replace("-", " ")) for name, figure in figures.items()},
        limits=limits(transfer),
    )


def limits(transfer: Transfer) -> list[str]:
    """What the drop cannot say."""
    name, sheets = transfer.plan.cohort, len(transfer.sheets)
    lines = [
        f"Why: camera, skin, how lesions were chosen and how diagnoses were made differ at once between the internal "
        f"test and {name}; the drop is of all of them together.",
        f"{name} is one other place. What is lost in a third one is not known from it.",
        "Luck in pretraining: each encoder was pretrained once.",
        "An arm that knows little has little to lose: a small drop is a merit only at a good accuracy there.",
        f"The answers of the classes that were left out are not judged; a model that calls a lesion of {name} one of "
        "them is wrong.",
    ]
    if sheets > 1:
        lines.append(
            f"Holm's correction holds over the {sheets} drops and, apart from them, over the comparisons with "
            f"{transfer.plan.reference}, for balanced accuracy alone. The intervals shown are not widened by it, and "
            "the other measures decide nothing."
        )
    if transfer.plan.synthetic:
        lines.insert(0, "The images are drawings. Nothing here is evidence about skin, lesions or pretraining.")
    return lines


def value(found: float, measure: Measure) -> str:
    """`71.3 %` for a share, else three decimals; a dash where nothing is known."""
    text = _plain(measure)(found)
    return f"{text} %" if measure.share and text != DASH else text


def change(found: float, measure: Measure) -> str:
    """A difference: `+2.1` points for a share, else three decimals with their sign."""
    return (points if measure.share else signed)(found)


def between(found: Interval, measure: Measure, difference: bool = False) -> str:
    """`low to high`, or that there is no interval."""
    return interval_range(found, partial(change, measure=measure) if difference else _plain(measure))


def _plain(measure: Measure) -> Callable[[float], str]:
    return percent if measure.share else number
