"""Differences in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.report.formatting import MINUS
from components.report.wording import (
    Claim,
    about_smallest_p,
    join_claims,
    mark_synthetic,
    points_with_interval,
    value_with_interval,
)
from components.statistics.intervals import Interval
from tests.unit.robustness.simulated_runs import QUESTION


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.021, -0.003, 0.045), f"+2.1 points (95 % interval {MINUS}0.3 to +4.5)"),
        (Interval(-0.021, -np.inf, np.inf), f"{MINUS}2.1 points (no interval)"),
        (Interval(-0.02, -0.04, -0.0002), f"{MINUS}2.0 points (95 % interval {MINUS}4.0 to {MINUS}0.02)"),
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


def test_the_smallest_p_of_a_family_is_stated_and_whether_more_resamples_were_drawn() -> None:
    """63 comparisons: 63 * 2 / 2001 = 0.063 can never be 0.05; 2,519 resamples give 63 * 2 / 2520 = 0.05."""
    drawn = replace(QUESTION, resamples=2000).with_resamples_for(63)
    assert about_smallest_p(drawn, 63, "comparisons") == (
        "63 comparisons with 2,519 resamples: the smallest possible p after Holm's correction is 0.05. With the 2,000 "
        "of compare.resamples it would be 0.063, above 0.05, so that none could be significant: more were drawn."
    )
    assert about_smallest_p(drawn, 4, "tests").endswith("after Holm's correction is 0.0032.")  # 4 * 2 / 2520
