"""The page that goes through the paper's seven claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from components.base.run_id import DESCRIPTIONS
from components.paper.answers import ModelAnswers, PaperAnswers
from components.paper.claims import CLAIMS, Word
from components.paper.evidence import Json
from components.report import page
from components.report.figures import arm_colours
from components.report.formatting import decimals, percent, points, signed
from components.report.wording import mark_synthetic
from components.statistics.intervals import Interval

TONES = {Word.CONFIRMED: "good", Word.CONTRADICTED: "bad", Word.NOT_DECIDED: "none", Word.NOT_TESTED: "mixed"}
"""CSS class of a word's colour."""

BEYOND = {-np.inf: "fewer than tried", np.inf: "more than all"}
"""Ends of an interval of lesions outside the range that was tried."""


def _lesions(share: float) -> str:
    return BEYOND.get(share) or percent(share)


def _lesion_points(difference: float) -> str:
    return BEYOND.get(difference) or points(difference)


FORMS: Mapping[str, tuple[Callable[[float], str], Callable[[float], str]]] = {
    "epochs": (partial(decimals, digits=2), partial(decimals, digits=2, sign=True)),
    "signed": (signed, signed),
    "percent": (percent, points),
    "points": (points, points),
    "lesions": (_lesions, _lesion_points),
}
"""How a measurement's values and its difference are written."""


def sentences(found: PaperAnswers, synthetic: bool) -> list[str]:
    """One for each model of the paper: its claims by word; or why none was tested."""
    if not found.paper:
        return [mark_synthetic(f"The paper's claims: not tested, since {found.absent}.", synthetic)]
    return [mark_synthetic(_sentence(each, found.reference), synthetic) for each in found.paper]


def _sentence(model: ModelAnswers, reference: str) -> str:
    parts = [f"{word.value.capitalize()}: {', '.join(titles)}." for word in Word if (titles := model.titles(word))]
    return f"{model.arm} against {reference}, {model.protocol.description}. {' '.join(parts)}"


def render(found: PaperAnswers, plan: Json) -> str:
    """The page as HTML.

    Args:
        found: of the claims.
        plan: of the comparison's record: study, arms, rule and more.
    """
    return page.render(
        "paper/page.html.j2",
        {
            "value": lambda value, form: FORMS[form][0](value),
            "difference": lambda value, form: FORMS[form][1](value),
            "ends": _ends,
        },
        found=found,
        plan=plan,
        confidence=f"{100 * plan['rule']['confidence']:g}",
        alpha=f"{1 - plan['rule']['confidence']:.2g}",
        colours=arm_colours(plan["arms"]),
        claims=CLAIMS,
        tones=TONES,
        untested=Word.NOT_TESTED,
        sentences=sentences(found, plan["synthetic"]),
        descriptions=DESCRIPTIONS,
    )


def _ends(interval: Interval, form: str) -> str:
    """The ends of a difference; one that is infinite is shown only where that means something."""
    unknown = not interval.known and form != "lesions"
    if unknown or np.isnan([interval.low, interval.high]).any():
        return "no interval"
    low, high = FORMS[form][1](interval.low), FORMS[form][1](interval.high)
    return low if low == high and form == "lesions" else f"{low} to {high}"
