"""How numbers are written on every page: a true minus, a dash where nothing is known, ends of an interval in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.statistics.intervals import Interval

MINUS = "\N{MINUS SIGN}"  # as wide as a plus
DASH = "\N{EN DASH}"  # stands where nothing is known


def percent(share: float) -> str:
    """`71.3`, in percent without the sign of it; a dash where nothing is known."""
    return f"{100 * share:.1f}".replace("-", MINUS) if np.isfinite(share) else DASH


def number(value: float, sign: bool = False, digits: int = 3) -> str:
    """Three decimals or `digits`, with a plus where the sign matters."""
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", MINUS) if np.isfinite(value) else DASH


def change(share: float) -> str:
    """A relative change, as the paper writes it: `+44.44 %`."""
    return f"{100 * share:+.2f} %".replace("-", MINUS) if np.isfinite(share) else DASH


def signed(value: float) -> str:
    """A number whose sign matters."""
    return number(value, sign=True)


def points(share: float) -> str:
    """A difference of shares in percentage points: `+2.1`."""
    return f"{100 * share:+.1f}".replace("-", MINUS) if np.isfinite(share) else DASH


def spread(interval: Interval, form: Any = number) -> str:
    """`low to high`, or that one seed has no interval."""
    return f"{form(interval.low)} to {form(interval.high)}" if interval.known else "no interval"
