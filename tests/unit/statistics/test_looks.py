"""The levels of planned looks add up to the level of the study."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.looks import LEVEL, PLANNED, World, decisions, false_claims
from components.statistics.looks import Look, find_look, look_levels


@pytest.mark.parametrize(
    ("planned", "levels"),
    [((3, 5, 10), (0.015, 0.01, 0.025)), ((5,), (0.05,)), ((3, 9), (0.0166, 0.0333)), ((5, 10), (0.025, 0.025))],
)
def test_a_look_gets_the_share_of_the_seeds_that_it_adds(planned: tuple[int, ...], levels: tuple[float, ...]) -> None:
    assert look_levels(planned, 0.05) == levels


@given(st.sets(st.integers(2, 100), min_size=1, max_size=8), st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.2]))
def test_the_levels_never_add_up_to_more_than_that_of_the_study(planned: set[int], overall: float) -> None:
    levels = look_levels(tuple(sorted(planned)), overall)
    assert all(level > 0 for level in levels)
    assert overall * (1 - 0.01 * len(planned)) <= sum(levels) <= overall * (1 + 1e-12)


def test_the_number_of_seeds_names_the_look() -> None:
    look = find_look([3, 5, 10], 5, 0.05)
    assert look == Look((3, 5, 10), 2, 0.05)
    assert (look.alpha, look.is_last) == (0.01, False)
    with pytest.raises(ValueError, match=r"4 seeds are no planned look, expected one of \[3, 5, 10\]"):
        find_look([3, 5, 10], 4, 0.05)


@pytest.mark.parametrize(("by_seeds", "by_lesions"), [(2.0, 0.5), (2.0, 1.5), (0.5, 1.5)])
def test_equal_arms_are_rarely_called_different_over_all_planned_looks(by_seeds: float, by_lesions: float) -> None:
    """4,000 studies of three arms: the Monte Carlo error of 5 % is 0.34 %."""
    world = World("", 0.0, by_seeds, by_lesions)
    assert false_claims(world, PLANNED, look_levels(PLANNED, LEVEL), 4000) < 0.06
    assert false_claims(world, PLANNED, [LEVEL] * 3, 4000) > false_claims(world, PLANNED[-1:], [LEVEL], 4000)


def test_without_a_plan_more_than_one_study_in_ten_makes_a_false_claim() -> None:
    assert false_claims(World("", 0.0, 2.0, 0.0), PLANNED, [LEVEL] * 3, 4000) > 0.1


def test_planned_looks_decide_nearly_as_often_as_the_largest_study_with_fewer_seeds() -> None:
    world = World("", 4.0, 2.0, 0.7, comparisons=1)
    decided, seeds = decisions(world, PLANNED, look_levels(PLANNED, LEVEL), 4000)
    largest, _ = decisions(world, PLANNED[-1:], [LEVEL], 4000)
    smallest, _ = decisions(world, PLANNED[:1], [LEVEL], 4000)
    assert smallest + 0.2 < decided < largest + 0.01
    assert decided > largest - 0.02
    assert 3 < seeds < 8
