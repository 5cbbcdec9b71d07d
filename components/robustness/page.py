"""The page about robustness: accuracy under image corruptions, and predictions with the lesion masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from components.base.run_id import DESCRIPTIONS
from components.report import page
from components.report.figures import arm_colours, arms, examples
from components.report.wording import about_smallest_p
from components.robustness import figure as strength_figure
from components.robustness.analysis import ModelRobustness, RobustnessResult
from components.robustness.corruption_drop import DropDifference
from components.robustness.corruptions import STRENGTHS, load_corruption
from components.robustness.occlusion import PICTURES
from components.robustness.sentences import claims, title
from components.robustness.shortcut_test import MIN_LESIONS, TESTED
from components.statistics.intervals import Interval

Image = np.ndarray[Any, np.dtype[np.uint8]]

UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


def draw_figures(result: RobustnessResult) -> dict[str, Figure]:
    """Every figure of measured values, by the name that its file has in MLflow."""
    question = result.question
    colours = arm_colours(question.arms)
    found: dict[str, Figure] = {}
    limits, chance = _axis_limits(result), 1 / len(question.classes)
    for protocol in question.protocols:
        models = [model for model in result.models if model.protocol == protocol]
        for place, corruption in enumerate(result.settings.corruptions):
            curves = {
                model.arm: [
                    (0, model.drops.clean),
                    *((each.strength, each.accuracy) for each in model.drops.corruptions[place].strengths),
                ]
                for model in models
            }
            figure = strength_figure.draw(curves, colours, chance=chance, limits=limits)
            found[f"corruption-{corruption}-{protocol}"] = figure
    dots = [_dot(model, model.drops.overall, colours, unit=100) for model in result.models]
    found["mean-drop"] = arms.draw(dots, "drop of balanced accuracy, points", 0.0)
    for place, shortcut in enumerate(result.models[0].shortcuts):
        if shortcut.accuracy is not None:
            tests = [model.shortcuts[place].accuracy for model in result.models]
            intervals = [UNKNOWN if test is None else test.interval for test in tests]
            dots = [_dot(model, each, colours) for model, each in zip(result.models, intervals, strict=True)]
            label = f"balanced accuracy, {PICTURES[shortcut.picture]}"
            found[f"shortcut-{shortcut.picture}"] = arms.draw(dots, label, shortcut.accuracy.chance)
    return found


def _axis_limits(result: RobustnessResult) -> tuple[float, float]:
    """One vertical axis for all corruptions."""
    intervals = [
        each.accuracy
        for model in result.models
        for corruption in model.drops.corruptions
        for each in corruption.strengths
    ]
    intervals += [model.drops.clean for model in result.models]
    values = [value for each in intervals for value in (each.mean, each.low, each.high)]
    known = [value for value in values if np.isfinite(value)] + [1 / len(result.question.classes)]
    return max(0.0, min(known) - 0.03), min(1.0, max(known) + 0.03)


def _dot(model: ModelRobustness, interval: Interval, colours: Mapping[str, str], unit: float = 1) -> arms.Dot:
    ends = unit * interval.mean, unit * interval.low, unit * interval.high
    return arms.Dot(f"{model.arm}, {model.protocol}", colours[model.arm], *ends)


def draw_corruptions(clean: Image, corrupted: Mapping[str, Sequence[Image]], strengths: Sequence[int]) -> Figure:
    """One test image (S, S, 3) under each corruption, a row a corruption and a column a strength."""
    rows = [[clean, *images] for images in corrupted.values()]
    return examples.draw(rows, [title(name) for name in corrupted], ["clean", *(str(each) for each in strengths)])


def draw_masked(images: Sequence[Image], masked: Mapping[str, Sequence[Image]]) -> Figure:
    """Test images as packed and in each masked version, a column an image; `masked` by the keys of PICTURES."""
    rows = {"as packed": images, **{PICTURES[name]: each for name, each in masked.items()}}
    return examples.draw(list(rows.values()), list(rows), [""] * len(images))


def render(result: RobustnessResult, figures: Mapping[str, Figure]) -> str:
    """The page as HTML.

    Args:
        result: of the analysis.
        figures: those of `draw_figures`, and `corruption-examples` and `masked-examples`.
    """
    return page.render(
        "robustness/page.html.j2",
        {"title": title, "heading": lambda name: title(name)[0].upper() + title(name)[1:]},
        result=result,
        question=result.question,
        smallest_p=about_smallest_p(result.question, result.corruption_tests, "comparisons of single corruptions"),
        settings=result.settings,
        colours=arm_colours(result.question.arms),
        figures={name: page.inline_svg(figure, name, name.replace("-", " ")) for name, figure in figures.items()},
        claims=[claims(model, result) for model in result.models],
        corruptions={name: load_corruption(name) for name in result.settings.corruptions},
        levels=len(STRENGTHS),
        pictures=PICTURES,
        tested=TESTED,
        min_lesions=MIN_LESIONS,
        protocols=DESCRIPTIONS,
        chip=_chip,
    )


def _chip(difference: DropDifference) -> tuple[str, str]:
    """Colour class and text of a difference."""
    if not difference.significant:
        return "none", "not decided"
    more = difference.interval.mean > 0
    return ("bad", "significantly more") if more else ("good", "significantly less")
