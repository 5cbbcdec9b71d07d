"""How precisely a number of lesions can show a share, such as the sensitivity for a rare class.

The interval is Wilson's (1927) for independent lesions and one model: between-seed variance widens it.
"""

from __future__ import annotations

from scipy.stats import binomtest

MOST_LESIONS = 10_000_000
ROUNDING_PERIOD = 10
"""Further lesions that are tried: within so many, a share of whole lesions is above and below the wanted one."""


def half_width(lesions: int, share: float, confidence: float) -> float:
    """Half the width of the interval of a share, in [0, 0.5].

    Args:
        lesions: above zero.
        share: observed, in [0, 1]; rounded to a whole number of lesions.
        confidence: of the interval, in (0, 1).
    """
    interval = binomtest(round(share * lesions), lesions).proportion_ci(confidence, method="wilson")
    return float(interval.high - interval.low) / 2


def lesions_needed(wanted: float, share: float, confidence: float) -> int:
    """The number of lesions from which on the interval of a share has at most the half width `wanted`.

    Args:
        wanted: in (0, 0.5).
        share: in (0, 1).
        confidence: of the interval, in (0, 1).

    Raises:
        ValueError: where more than MOST_LESIONS would be needed.
    """
    high = 1
    while half_width(high, share, confidence) > wanted:
        high *= 2
        if high > MOST_LESIONS:
            raise ValueError(f"a half width of {wanted:g} needs more than {MOST_LESIONS:,} lesions")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if half_width(middle, share, confidence) <= wanted else (middle, high)
    while any(half_width(high + more, share, confidence) > wanted for more in range(1, ROUNDING_PERIOD)):
        high += 1  # the share of a whole number of lesions alternates a little
    return high
