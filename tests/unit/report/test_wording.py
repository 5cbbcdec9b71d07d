"""Differences in words."""

from __future__ import annotations

import numpy as np
import pytest

from components.report.formatting import MINUS
from components.report.wording import (
    Claim,
    join_claims,
    mark_synthetic,
    points_with_interval,
    value_with_interval,
)
from components.statistics.intervals import Interval


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.021, -0.003, 0.045), f"+2.1 points (95 % interval {MINUS}0.3 to +4.5)"),
        (Interval(-0.021, -np.inf, np.inf), f"{MINUS}2.1 points (no interval)"),
    ],
)
def test_a_difference_of_shares_is_in_points(interval: Interval, text: str) -> None:
    assert points_with_interval(interval, 0.95) == text


def test_a_difference_keeps_its_unit() -> None:
    found = value_with_interval(Interval(-0.052, -0.08, -0.024), 0.9)
    assert found == f"{MINUS}0.052 (90 % interval {MINUS}0.080 to {MINUS}0.024)"


def test_claims_are_joined_and_synthetic_ones_are_marked_first() -> None:
    claims = [Claim("One.", "a"), Claim("Two.", "b")]
    assert join_claims(claims) == "One. Two."
    assert mark_synthetic("One.", synthetic=True) == "SYNTHETIC, pipeline check, not evidence: One."
    assert mark_synthetic("One.", synthetic=False) == "One."
