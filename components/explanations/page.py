"""The page behind single answers: checked maps, near train lesions, the most confident errors.

Images are named by image_id alone, and pictures made anew from packed pixels, as on the gate's page. A map that failed
its check is shown grey and crossed out: whoever looks for it finds it, and the warning with it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from components.base.run_id import DESCRIPTIONS
from components.explanations.analysis import EVERYTHING, Case, Error, Exhibit, Explanations, Finding, Plan, Sheet
from components.report import formatting, page
from components.report.figures import PALETTE, arm_colours, arms
from components.report.formatting import interval_range, percent
from components.report.pictures import data_uri, fit

Array = npt.NDArray[Any]

SIDE = 128
"""Pixels, at most, of a picture's side."""

QUALITY = 80
"""Of WebP; of a picture of 64 pixels that is 1 to 2 kB."""

AGAINST, FOR = PALETTE[0], PALETTE[1]
"""Blue and vermilion, told apart with every common colour vision."""

TONES = {Finding.DEPENDS: "good", Finding.SAME: "bad", Finding.INCOMPLETE: "bad", Finding.UNDECIDED: "none"}

CHIPS = {
    Finding.DEPENDS: "May be read",
    Finding.SAME: "Do not read",
    Finding.INCOMPLETE: "Do not read",
    Finding.UNDECIDED: "Not decided: do not read",
}


@dataclass(frozen=True)
class View:
    """What one model makes of a case."""

    sheet: Sheet
    exhibit: Exhibit
    map: str  # data URI
    readable: bool


@dataclass(frozen=True)
class Showcase:
    """A case and all models' views of it."""

    case: Case
    views: tuple[View, ...]


def draw_figures(found: Explanations) -> dict[str, Figure]:
    """How much of each model's maps is left once all its weights are drawn anew, against the line."""
    colours = arm_colours(found.plan.arms)
    dots = [dot for sheet in found.sheets for dot in _dots(sheet, colours[sheet.arm])]
    title = "rank correlation"
    return {"maps-check": arms.draw(dots, title, found.plan.alike)} if dots else {}


def _dots(sheet: Sheet, colour: str) -> list[arms.Dot]:
    return [
        arms.Dot(f"{sheet.name}: {word}", colour, interval.mean, interval.low, interval.high)
        for each in sheet.likeness
        if each.other == EVERYTHING
        for word, interval in (("sign", each.rank), ("place", each.magnitude))
    ]


def render(found: Explanations, photographs: Mapping[str, str], figures: Mapping[str, Figure]) -> str:
    """The whole page; `photographs` holds a data URI by image_id. The same findings give the same bytes."""
    plan = found.plan
    shown = showcases(found)
    return page.render(
        "explanations/page.html.j2",
        {"percent": percent, "number": number, "span": span, "percent_span": percent_span, "shares": shares},
        found=found,
        plan=plan,
        photographs=photographs,
        figures={name: page.inline_svg(figure, name, "check of the maps") for name, figure in figures.items()},
        findings={sheet.name: sheet.finding(plan) for sheet in found.sheets},
        readable=[sheet for sheet in found.sheets if sheet.finding(plan) is Finding.DEPENDS],
        reasons={sheet.name: reason(sheet, plan) for sheet in found.sheets},
        drawn=[each for each in shown if each.case.drawn],
        mistaken=[each for each in shown if not each.case.drawn],
        tones={str(name): tone for name, tone in TONES.items()},
        chips={str(name): words for name, words in CHIPS.items()},
        colours=arm_colours(plan.arms),
        protocols=DESCRIPTIONS,
        told=told,
        against=AGAINST,
        speaking_for=FOR,
    )


def showcases(found: Explanations) -> list[Showcase]:
    """Every case with the view of every model, in the order of the cases."""
    shown = []
    for place, case in enumerate(found.cases):
        views = []
        for sheet in found.sheets:
            exhibit = sheet.exhibits[place]
            views.append(View(sheet, exhibit, colour_map(exhibit.map), sheet.finding(found.plan) is Finding.DEPENDS))
        shown.append(Showcase(case, tuple(views)))
    return shown


def reason(sheet: Sheet, plan: Plan) -> str:
    """The finding in a sentence with its numbers."""
    found = next((each for each in sheet.likeness if each.other == EVERYTHING), None)
    if found is None or not found.rank.known:
        return "Too few maps to tell whether they depend on anything that was learned."
    sign, place = (f"{number(each.mean)} ({span(each)})" for each in (found.rank, found.magnitude))
    numbers = f"rank correlation {sign} by sign and {place} by place alone, over {found.lesions} lesions"
    words = {
        Finding.DEPENDS: f"With all weights drawn anew its maps become others: {numbers}.",
        Finding.SAME: f"With all weights drawn anew its maps stay the same: they show the image and not what was "
        f"learned. Do not read them ({numbers}).",
        Finding.INCOMPLETE: f"The integral missed {shares(sheet.lost)} of the logits' change, {shares(plan.lost)} is "
        f"allowed: its maps are no account of the answer. Do not read them, or raise explain.steps.",
        Finding.UNDECIDED: f"Whether its maps would be others without what was learned is not decided: {numbers}.",
    }
    return words[sheet.finding(plan)]


def told(error: Error) -> str:
    """In how many seeds and other arms the image is called wrongly."""
    seeds = f"wrong in {error.seeds_wrong} of {error.seeds} seed{'s' * (error.seeds != 1)}"
    arms_words = f"{error.arms_wrong} of {error.other_arms} other arm{'s' * (error.other_arms != 1)}"
    return f"{seeds}, and in {arms_words}" if error.other_arms else seeds


# --- pictures: pixels in, pixels out


def photograph(pixels: Array) -> str:
    """(S, S, 3) uint8 RGB as a data URI of at most SIDE pixels."""
    return _uri("webp", pixels, quality=QUALITY, method=4)


def colour_map(values: Array) -> str:
    """A map (S, S) in [-1, 1] as a data URI: FOR and AGAINST, transparent where nothing speaks."""
    colours = np.where(values[..., None] > 0, to_rgb(FOR), to_rgb(AGAINST))  # (S, S, 3)
    layers = np.concatenate([colours, np.abs(values)[..., None]], axis=2)  # (S, S, 4), the last is opacity
    return _uri("png", (255 * layers).round().astype(np.uint8), optimize=True)


def _uri(kind: str, pixels: Array, **how: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(fit(pixels, SIDE)).save(buffer, kind.upper(), **how)
    return data_uri(kind, buffer.getvalue())


# --- numbers in words


def shares(value: float) -> str:
    """`8 %`."""
    return f"{100 * value:.0f} %" if math.isfinite(value) else "an unknown share"


number = partial(formatting.number, digits=2)
span = partial(interval_range, form=number)
percent_span = partial(interval_range, form=percent)
