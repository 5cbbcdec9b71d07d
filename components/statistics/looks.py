"""Looking at a study more than once: how much of its level each planned look may use, fixed before the first look.

The looks' levels add up to the level of the study (Bonferroni), so that a false claim at any look is at most as
probable as in a study with one look, whatever the dependence between looks is. Bounds that use the dependence
(O'Brien & Fleming 1979; Lan & DeMets 1983) assume independent increments. They do not hold here: every look has the
same test lesions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal


@dataclass(frozen=True)
class Look:
    """One planned look at a study."""

    planned: tuple[int, ...]
    """Numbers of seeds at which the study is judged, rising."""
    number: int
    """Which of them this is, from 1."""
    overall: float
    """Level of the whole study, such as 0.05."""

    @property
    def alpha(self) -> float:
        """The level at which this look decides."""
        return look_levels(self.planned, self.overall)[self.number - 1]

    @property
    def is_last(self) -> bool:
        """Whether no look is planned after it."""
        return self.number == len(self.planned)


def find_look(planned: Sequence[int], seeds: int, overall: float) -> Look:
    """The look at which a study with that many seeds is; ValueError where none is planned there."""
    if seeds not in planned:
        raise ValueError(f"{seeds} seeds are no planned look, expected one of {list(planned)} (compare.looks)")
    return Look(tuple(planned), tuple(planned).index(seeds) + 1, overall)


def look_levels(planned: Sequence[int], overall: float) -> tuple[float, ...]:
    """The level of each look, in proportion to the seeds that it adds: with 3, 5, 10 of 0.05: 0.015, 0.01, 0.025.

    The last look, which has most seeds, so gets the largest share where the looks grow. Levels are rounded down to
    three digits, so that their sum never exceeds `overall`.
    """
    added = [after - before for before, after in zip((0, *planned), planned, strict=False)]
    down = Context(prec=3, rounding=ROUND_DOWN)
    return tuple(float(down.divide(Decimal(repr(overall)) * seeds, Decimal(planned[-1]))) for seeds in added)
