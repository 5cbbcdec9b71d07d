"""The page about single predictions: attribution maps with their check, nearest train lesions, most confident errors.

Images are named by image_id alone, and encoded again from packed pixels. A map that failed its check is shown grey and
crossed out, so that a reader sees both the map and the warning.
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
from components.data.pixels import Pixels
from components.explanations.analysis import CaseExplanation, ExplanationsResult, ModelExplanation
from components.explanations.map_check import EVERYTHING, OTHER_SEED, MapVerdict
from components.explanations.selection import Case, ConfidentError
from components.explanations.settings import Explain
from components.report import formatting, page
from components.report.figures import PALETTE, arm_colours, arms
from components.report.pictures import data_uri, fit

Array = npt.NDArray[Any]

SIDE = 128
"""Pixels, at most, of the side of an image on the page."""

QUALITY = 80
"""Of WebP; 1 to 2 kB for an image of 64 pixels."""

AGAINST, FOR = PALETTE[0], PALETTE[1]
"""Blue and vermilion, distinct with every common colour vision deficiency."""

TONES = {
    MapVerdict.DEPENDS: "even",  # not green: it says nothing about the model's skill
    MapVerdict.INDEPENDENT: "bad",
    MapVerdict.INCOMPLETE: "bad",
    MapVerdict.UNDECIDED: "none",
}
"""Colour class of each verdict."""

CHIPS = {
    MapVerdict.DEPENDS: "May be read",
    MapVerdict.INDEPENDENT: "Do not read",
    MapVerdict.INCOMPLETE: "Do not read",
    MapVerdict.UNDECIDED: "Not decided: do not read",
}


@dataclass(frozen=True)
class CaseView:
    """One model's explanation of a case on the page."""

    model: ModelExplanation
    explanation: CaseExplanation
    map: str  # data URI
    readable: bool


@dataclass(frozen=True)
class CasePanel:
    """A case with the views of all models."""

    case: Case
    views: tuple[CaseView, ...]


def draw_figures(result: ExplanationsResult) -> dict[str, Figure]:
    """Similarity of each model's maps to those with everything randomised; the line is where maps count as the same."""
    colours = arm_colours(result.question.arms)
    dots = [dot for model in result.models for dot in _dots(model, colours[model.arm])]
    return {"maps-check": arms.draw(dots, "rank correlation", result.settings.same_from)} if dots else {}


def _dots(model: ModelExplanation, colour: str) -> list[arms.Dot]:
    return [
        arms.Dot(f"{model.name}: {word}", colour, interval.mean, interval.low, interval.high)
        for each in model.similarities
        if each.other == EVERYTHING
        for word, interval in (("signed", each.rank), ("magnitude", each.magnitude))
    ]


def render(result: ExplanationsResult, photographs: Mapping[str, str], figures: Mapping[str, Figure]) -> str:
    """The page as HTML; equal arguments give equal bytes.

    Args:
        result: of all models.
        photographs: data URIs by image_id, see `encode_photographs`.
        figures: those of `draw_figures`.
    """
    settings, panels = result.settings, case_panels(result)
    verdicts = {model.name: model.verdict(settings) for model in result.models}
    return page.render(
        "explanations/page.html.j2",
        {"number": number, "interval_range": interval_range, "whole_percent": whole_percent},
        result=result,
        question=result.question,
        settings=settings,
        photographs=photographs,
        figures={name: page.inline_svg(figure, name, "check of the maps") for name, figure in figures.items()},
        readable=[model for model in result.models if verdicts[model.name] is MapVerdict.DEPENDS],
        reasons={model.name: verdict_reason(model, settings) for model in result.models},
        tones={name: TONES[verdict] for name, verdict in verdicts.items()},
        chips={name: CHIPS[verdict] for name, verdict in verdicts.items()},
        drawn=[each for each in panels if each.case.drawn],
        errors=[each for each in panels if not each.case.drawn],
        other_seed=OTHER_SEED,
        colours=arm_colours(result.question.arms),
        protocols=DESCRIPTIONS,
        error_counts=error_counts,
        against_colour=AGAINST,
        for_colour=FOR,
    )


def case_panels(result: ExplanationsResult) -> list[CasePanel]:
    """Every case with the view of every model, in the order of the cases."""
    panels = []
    for place, case in enumerate(result.cases):
        views = []
        for model in result.models:
            readable = model.verdict(result.settings) is MapVerdict.DEPENDS
            views.append(CaseView(model, model.cases[place], encode_map(model.cases[place].map), readable))
        panels.append(CasePanel(case, tuple(views)))
    return panels


def verdict_reason(model: ModelExplanation, settings: Explain) -> str:
    """The verdict in a sentence with its numbers."""
    found = next((each for each in model.similarities if each.other == EVERYTHING), None)
    if found is None or not found.rank.known:
        return "Too few maps to decide whether they depend on anything that was learned."
    signed, magnitude = (f"{number(each.mean)} ({interval_range(each)})" for each in (found.rank, found.magnitude))
    numbers = f"rank correlation {signed} signed and {magnitude} of magnitudes, over {found.lesions} lesions"
    sentences = {
        MapVerdict.DEPENDS: f"With all weights randomised its maps change: {numbers}.",
        MapVerdict.INDEPENDENT: "With all weights randomised its maps stay the same: they show the image and not what "
        f"was learned. Do not read them ({numbers}).",
        MapVerdict.INCOMPLETE: f"The integral missed {whole_percent(model.missed)} of the logits' change, "
        f"{whole_percent(settings.max_missed)} is allowed: its maps do not account for the prediction. Do not read "
        "them, or raise explain.steps.",
        MapVerdict.UNDECIDED: f"Whether its maps change with randomised weights is not decided: {numbers}.",
    }
    return sentences[model.verdict(settings)]


def error_counts(error: ConfidentError) -> str:
    """In how many seeds and other arms the image is classified wrongly."""
    seeds = f"wrong in {error.seeds_wrong} of {error.seeds} seed{'s' * (error.seeds != 1)}"
    others = f"{error.arms_wrong} of {error.other_arms} other arm{'s' * (error.other_arms != 1)}"
    return f"{seeds}, and in {others}" if error.other_arms else seeds


# --- images: pixels to data URIs


def encode_photographs(result: ExplanationsResult, train: Pixels, test: Pixels) -> dict[str, str]:
    """Data URIs by image_id: the cases from the test images, and their neighbours from the train images."""
    near = {each.image for model in result.models for case in model.cases for each in case.neighbours}
    cases = {case.image for case in result.cases}
    photographs = {}
    for pixels, wanted in ((train, near), (test, cases)):
        names = pixels.index["image_id"].to_numpy(str)
        for row in np.flatnonzero(np.isin(names, sorted(wanted))):
            photographs[str(names[row])] = encode_photograph(pixels.take(np.array([row]))[0])
    return photographs


def encode_photograph(pixels: Array) -> str:
    """An image (S, S, 3) uint8 RGB as a data URI of at most SIDE pixels."""
    return _encode("webp", pixels, quality=QUALITY, method=4)


def encode_map(values: Array) -> str:
    """A map (S, S) in [-1, 1] as a data URI in the colours FOR and AGAINST; zero is transparent."""
    colours = np.where(values[..., None] > 0, to_rgb(FOR), to_rgb(AGAINST))  # (S, S, 3)
    layers = np.concatenate([colours, np.abs(values)[..., None]], axis=2)  # (S, S, 4), the last is opacity
    return _encode("png", (255 * layers).round().astype(np.uint8), optimize=True)


def _encode(kind: str, pixels: Array, **options: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(fit(pixels, SIDE)).save(buffer, kind.upper(), **options)
    return data_uri(kind, buffer.getvalue())


# --- numbers


def whole_percent(share: float) -> str:
    """`8 %`."""
    return f"{100 * share:.0f} %" if math.isfinite(share) else "an unknown share"


number = partial(formatting.number, digits=2)
interval_range = partial(formatting.interval_range, form=number)
