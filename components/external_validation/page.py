"""The page of one external test set: what is lost on it, how its diagnoses were read, and what else differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from matplotlib.figure import Figure

from components.external_validation import figure as change_figure
from components.external_validation.diagnoses import MIN_LESIONS
from components.external_validation.results import (
    LEADING,
    ExternalMeasure,
    ExternalModel,
    ExternalValidationResult,
)
from components.report import page
from components.report.figures import arm_colours, arms
from components.report.formatting import DASH, interval_range, number, p_value, percent, points, signed
from components.report.wording import about_smallest_p
from components.statistics.intervals import Interval

DRAWN = ("balanced_accuracy", "macro_auroc")
"""Measures that have a figure of both test sets."""

CLASS_PREFIX = "sensitivity."


def draw_figures(result: ExternalValidationResult) -> dict[str, Figure]:
    """Both test sets in the main measures, the drops, and the drops minus the reference's, by name."""
    colours = arm_colours(result.question.arms)
    chance = {"balanced_accuracy": 1 / len(result.labels.compared), "macro_auroc": 0.5}
    found = {}
    for name in DRAWN:
        measure = result.measures[name]
        rows = [_two_sets(model, name, colours) for model in result.models]
        title = f"{measure.title[0].lower()}{measure.title[1:]}{', %' if measure.share else ''}"
        found[f"external-{name}"] = change_figure.draw(rows, title, chance[name], 100 if measure.share else 1)
    drops = [_dot(model, model.changes[LEADING].drop, colours) for model in result.models]
    found["external-drop"] = arms.draw(drops, "external minus internal, points", 0.0)
    paired = [(model, model.changes[LEADING].against) for model in result.models]
    dots = [_dot(model, interval, colours) for model, interval in paired if interval is not None]
    if dots:
        found["external-against"] = arms.draw(dots, f"change minus {result.question.reference}'s, points", 0.0)
    return found


def _two_sets(model: ExternalModel, name: str, colours: Mapping[str, str]) -> change_figure.TwoSets:
    change, label = model.changes[name], f"{model.arm}, {model.protocol}"
    return change_figure.TwoSets(label, colours[model.arm], change.internal, change.external)


def _dot(model: ExternalModel, found: Interval, colours: Mapping[str, str]) -> arms.Dot:
    ends = (100 * found.mean, 100 * found.low, 100 * found.high)
    return arms.Dot(f"{model.arm}, {model.protocol}", colours[model.arm], *ends)


def render(result: ExternalValidationResult, figures: Mapping[str, Figure]) -> str:
    """The whole page; the same result gives the same bytes."""
    measures = result.measures.items()
    return page.render(
        "external_validation/page.html.j2",
        {"value": value, "change": change, "measure_range": measure_range, "percent": percent, "p": p_value},
        result=result,
        question=result.question,
        setup=result.setup,
        labels=result.labels,
        measures={key: each for key, each in measures if not key.startswith(CLASS_PREFIX)},
        by_class={
            key.removeprefix(CLASS_PREFIX): (key, each) for key, each in measures if key.startswith(CLASS_PREFIX)
        },
        leading=LEADING,
        min_lesions=MIN_LESIONS,
        colours=arm_colours(result.question.arms),
        figures={name: page.inline_svg(figure, name, name.replace("-", " ")) for name, figure in figures.items()},
        limits=limits(result),
    )


def limits(result: ExternalValidationResult) -> list[str]:
    """What cannot be concluded from the drop."""
    name, models = result.setup.cohort, len(result.models)
    lines = [
        f"The cause: camera, skin type, selection of lesions and method of diagnosis differ at once between the "
        f"internal test and {name}; the drop is the effect of all of them together.",
        f"{name} is one external test set. The drop on another one is not known from it.",
        "An arm whose weights are one fixed set, such as published ones: its intervals hold for these weights. For the "
        "others each seed draws the pretraining anew. The main page says which arms are which.",
        "An arm with a low internal accuracy cannot lose much: a small drop is good only together with a good accuracy "
        f"on {name}.",
        f"Predictions of the classes that were left out are not measured; a model that predicts one of them for a "
        f"lesion of {name} is wrong.",
    ]
    if models > 1:
        lines.append(
            f"Holm's correction holds over the {models} drops and, separately, over the comparisons with "
            f"{result.question.reference}, for balanced accuracy alone. The intervals shown are not widened by it, and "
            "the other measures decide nothing."
        )
        lines.append(about_smallest_p(result.question, models, "drops"))
    if result.question.synthetic:
        lines.insert(0, "The images are drawings. Nothing here is evidence about skin, lesions or pretraining.")
    return lines


def value(found: float, measure: ExternalMeasure) -> str:
    """`71.3 %` for a share, else three decimals; a dash where it is not known."""
    text = _plain(measure)(found)
    return f"{text} %" if measure.share and text != DASH else text


def change(found: float, measure: ExternalMeasure) -> str:
    """A difference: `+2.1` points for a share, else three decimals with their sign."""
    return (points if measure.share else signed)(found)


def measure_range(found: Interval, measure: ExternalMeasure, difference: bool = False) -> str:
    """`low to high`, or that there is no interval."""
    return interval_range(found, partial(change, measure=measure) if difference else _plain(measure))


def _plain(measure: ExternalMeasure) -> Callable[[float], str]:
    return percent if measure.share else number
