"""Numbers as text."""

from __future__ import annotations

import numpy as np
import pytest

from components.report import formatting
from components.report.formatting import MINUS
from components.statistics.intervals import Interval


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (formatting.percent, 0.7134, "71.3"),
        (formatting.number, -0.0523, f"{MINUS}0.052"),
        (formatting.signed, 0.0601, "+0.060"),
        (formatting.change, -1 / 3, f"{MINUS}33.33 %"),
        (formatting.points, 0.021, "+2.1"),
        (formatting.exact, 1 / 3, "0.3333333333333333"),
        (formatting.exact, None, formatting.DASH),
        (formatting.percent, np.nan, formatting.DASH),
        (formatting.change, np.nan, formatting.DASH),
    ],
)
def test_numbers_are_written_as_in_the_paper(form: object, value: float, text: str) -> None:
    assert form(value) == text


def test_an_interval_is_written_or_called_missing() -> None:
    assert formatting.interval_range(Interval(0.5, 0.4, 0.6), formatting.percent) == "40.0 to 60.0"
    assert formatting.interval_range(Interval(0.5, -np.inf, np.inf)) == "no interval"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.03215, "= 0.032"),
        (0.0009, "< 0.001"),
        (1.0, "= 1.000"),
        (0.05, "= 0.050"),
        (0.0502, "= 0.0502"),
        (0.04996, "= 0.04996"),
        (0.0098, "= 0.0098"),
        (0.0996, "= 0.0996"),
        (0.0492, "= 0.049"),
    ],
)
def test_a_p_value_has_its_relation_sign(value: float, text: str) -> None:
    assert formatting.p_value(value) == text


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (formatting.points, -0.0, "+0.0"),
        (formatting.points, -1e-12, "+0.0"),
        (formatting.points, -0.0003, f"{MINUS}0.03"),  # an end below zero is not written as zero
        (formatting.points, 0.0003, "+0.03"),
        (formatting.points, -0.0006, f"{MINUS}0.1"),
        (formatting.signed, -0.0004, f"{MINUS}0.0004"),
        (formatting.number, -0.0, "0.000"),
        (formatting.percent, -0.0, "0.0"),
        (formatting.change, -0.0, "+0.00 %"),
    ],
)
def test_zero_has_no_minus_sign_and_what_is_not_zero_is_not_written_as_zero(
    form: object, value: float, text: str
) -> None:
    assert form(value) == text
