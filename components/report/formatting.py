"""Numbers as text, the same on every page: a true minus sign, a dash where a value is not known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from components.statistics.intervals import Interval

MINUS = "\N{MINUS SIGN}"  # as wide as a plus
DASH = "\N{EN DASH}"  # in place of a value that is not known


MOST_DIGITS = 8
"""Decimals after which a value counts as zero: rounding of the computation is smaller."""


def decimals(value: float, digits: int, sign: bool = False) -> str:
    """A value with `digits` decimals and a true minus sign; `sign` adds a plus to values that are not below zero.

    Zero has no minus sign. A value that would be rounded to zero gets as many decimals as its first digit needs, so
    that the end of an interval that excludes zero is not written as zero.
    """
    if not np.isfinite(value):
        return DASH
    if float(f"{value:.{digits}f}") == 0:
        shown = (more for more in range(digits, MOST_DIGITS + 1) if float(f"{value:.{more}f}") != 0)
        digits = next(shown, digits)
    return f"{value:{'+' if sign else ''}z.{digits}f}".replace("-", MINUS)


def count(number: int) -> str:
    """`10,015`."""
    return f"{number:,}"


def percent(share: float) -> str:
    """A share in percent, without the sign `%`: 0.713 is `71.3`."""
    return decimals(100 * share, 1)


def number(value: float, sign: bool = False, digits: int = 3) -> str:
    """A value with `digits` decimals; `sign` adds a plus to values above zero."""
    return decimals(value, digits, sign)


def exact(value: float | None) -> str:
    """A number that others decide by, such as a threshold: the shortest text that is read as the same float."""
    return DASH if value is None or not np.isfinite(value) else repr(float(value))


def signed(value: float) -> str:
    """A value with three decimals and its sign: `+0.060`."""
    return number(value, sign=True)


def signed_root(squared: float) -> str:
    """The root of a squared share in percent, with the sign of the square: 0.0064 is `+8.0`, -0.0004 is `−2.0`."""
    return decimals(100 * math.copysign(math.sqrt(abs(squared)), squared), 1, sign=True)


def change(share: float) -> str:
    """A relative change in percent, with the decimals of the paper: `+44.44 %`."""
    return f"{decimals(100 * share, 2, sign=True)} %" if np.isfinite(share) else DASH


def points(share: float) -> str:
    """A difference of shares in percentage points: 0.021 is `+2.1`."""
    return decimals(100 * share, 1, sign=True)


LEVELS = (0.01, 0.05, 0.1)
"""To which a reader compares a p-value."""


def p_value(value: float) -> str:
    """A p-value with its relation sign: `= 0.032`, `< 0.001`.

    One that would be rounded to a usual level without being equal to it gets more decimals: 0.0496 is below 0.05, and
    0.0504 above.
    """
    if value < 0.001:
        return "< 0.001"
    level = next((each for each in LEVELS if f"{value:.3f}" == f"{each:.3f}"), None)
    if level is None or abs(value - level) < 1e-9:
        return f"= {value:.3f}"
    digits = next((more for more in range(4, 9) if f"{value:.{more}f}" != f"{level:.{more}f}"), 3)
    return f"= {value:.{digits}f}"


def interval_range(interval: Interval, form: Callable[[float], str] = number) -> str:
    """The ends of an interval, each written by `form`: `0.612 to 0.734`; `no interval` where they are not known."""
    return f"{form(interval.low)} to {form(interval.high)}" if interval.known else "no interval"
