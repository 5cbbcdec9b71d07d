"""How precisely the sensitivity for the rarest class can be known, and how many lesions a useful interval needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.statistics.share_precision import half_width, lesions_needed

ASSUMED = 0.8
"""Sensitivity for which the width is stated: set beforehand, as the observed one is itself uncertain."""

WANTED = 0.05
"""Half width of an interval that lets two models be told apart."""


@dataclass(frozen=True)
class RarestClass:
    """The class with the fewest test lesions."""

    name: str
    lesions: int
    half_width: float | None
    """Of the interval of a sensitivity of ASSUMED, from the number of lesions alone; None without a lesion."""
    needed: int
    """Lesions for a half width of WANTED."""

    def describe(self, confidence: float) -> str:
        """A sentence for the page; `confidence` is that of the interval."""
        needed = f"for ±{100 * WANTED:g} points {self.needed:,} lesions are needed."
        if self.half_width is None:
            return f"The rarest class, {self.name}, has no test lesion: its sensitivity is not known; {needed}"
        lesions = f"{self.lesions:,} test lesion{'s' * (self.lesions != 1)}"
        return (
            f"The rarest class, {self.name}, has {lesions}: at a sensitivity of {100 * ASSUMED:g} % its "
            f"{100 * confidence:g} % interval is at least ±{100 * self.half_width:.1f} points wide, from the number of "
            f"lesions alone; {needed}"
        )


def plan_rarest_class(lesions: Mapping[str, int], confidence: float) -> RarestClass:
    """The class of the fewest lesions, the first of equal ones; `lesions` maps classes to test lesions."""
    name = min(lesions, key=lesions.__getitem__)
    held = lesions[name]
    width = half_width(held, ASSUMED, confidence) if held else None
    return RarestClass(name, held, width, lesions_needed(WANTED, ASSUMED, confidence))
