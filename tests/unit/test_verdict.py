"""The rule book: which intervals give which words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.statistics import Interval
from components.verdict import Candidate, Outcome, Rule, judge, recommend, verdict

RULE = Rule(confidence=0.95, margin=0.02, min_seeds=3)
NAMES = ("vae", "imagenet", "frozen")


def _around(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high)


SMALLER, SAME, LARGER = _around(-0.08, -0.02), _around(-0.02, 0.03), _around(0.02, 0.06)


@pytest.mark.parametrize(
    ("accuracy", "gap", "outcome"),
    [
        (_around(0.01, 0.05), SAME, Outcome.BETTER),
        (_around(0.01, 0.05), SMALLER, Outcome.BETTER),
        (_around(0.01, 0.05), LARGER, Outcome.BETTER_LARGER_GAP),
        (_around(-0.01, 0.015), SMALLER, Outcome.EQUIVALENT),
        (_around(0.001, 0.015), SAME, Outcome.EQUIVALENT),  # surely better, by too little to matter
        (_around(-0.09, -0.01), SMALLER, Outcome.SMALLER_GAP_LOWER_ACCURACY),  # the paper's pattern
        (_around(-0.09, -0.01), SAME, Outcome.WORSE),
        (_around(-0.09, -0.01), LARGER, Outcome.WORSE),
        (_around(-0.05, 0.03), SMALLER, Outcome.SMALLER_GAP),
        (_around(-0.05, 0.03), SAME, Outcome.TOO_WIDE),
        (_around(-0.05, 0.03), LARGER, Outcome.TOO_WIDE),
        (_around(-float("inf"), float("inf")), SMALLER, Outcome.SMALLER_GAP),
    ],
)
def test_each_pair_of_intervals_has_its_outcome(accuracy: Interval, gap: Interval, outcome: Outcome) -> None:
    assert judge(accuracy, gap, 3, RULE) is outcome


intervals = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(lambda ends: _around(min(ends), max(ends)))


@given(intervals, intervals, st.integers(1, 2))
def test_too_few_seeds_decide_nothing_whatever_they_say(accuracy: Interval, gap: Interval, seeds: int) -> None:
    assert judge(accuracy, gap, seeds, RULE) is Outcome.TOO_FEW_SEEDS


@given(intervals, intervals, st.floats(0, 0.5))
def test_an_interval_that_holds_zero_is_never_better_or_worse(accuracy: Interval, gap: Interval, margin: float) -> None:
    outcome = judge(accuracy, gap, 5, Rule(0.95, margin, 3))
    if accuracy.low <= 0 <= accuracy.high:
        assert outcome in {Outcome.EQUIVALENT, Outcome.SMALLER_GAP, Outcome.TOO_WIDE}


@given(intervals, intervals)
def test_arm_and_reference_exchanged_exchange_better_and_worse(accuracy: Interval, gap: Interval) -> None:
    turned = Interval(-accuracy.mean, -accuracy.high, -accuracy.low), Interval(-gap.mean, -gap.high, -gap.low)
    better = {Outcome.BETTER, Outcome.BETTER_LARGER_GAP}
    worse = {Outcome.WORSE, Outcome.SMALLER_GAP_LOWER_ACCURACY}
    assert (judge(accuracy, gap, 3, RULE) in better) == (judge(*turned, 3, RULE) in worse)


def test_every_outcome_can_be_reached() -> None:
    accuracies = [_around(0.01, 0.05), _around(-0.01, 0.01), _around(-0.09, -0.01), _around(-0.05, 0.03)]
    found = {judge(a, g, n, RULE) for a in accuracies for g in (SMALLER, SAME, LARGER) for n in (2, 3)}
    assert found == set(Outcome)


def test_the_sentence_holds_its_numbers() -> None:
    said = verdict(NAMES, Interval(-0.037, -0.075, -0.003), Interval(-0.05, -0.062, -0.0371), 3, RULE, synthetic=False)
    assert said.sentence == (
        "vae against imagenet, encoder frozen: smaller gap, lower accuracy. Test balanced accuracy \N{MINUS SIGN}3.7 "
        "points (95 % interval \N{MINUS SIGN}7.5 to \N{MINUS SIGN}0.3), overfitting gap (loss) \N{MINUS SIGN}0.050 "
        "(95 % interval \N{MINUS SIGN}0.062 to \N{MINUS SIGN}0.037), from 3 seeds, margin ±2 points."
    )


def test_too_few_seeds_are_counted_in_the_sentence() -> None:
    lone = Interval(-0.05, -float("inf"), float("inf"))
    said = verdict(NAMES, Interval(0.03, 0.01, 0.05), lone, 1, RULE, synthetic=False)
    assert "not decided: too few seeds" in said.sentence
    assert said.sentence.endswith("0.050 (no interval), from 1 seed; compare.min_seeds asks for 3.")


def test_drawings_are_called_synthetic_before_anything_else() -> None:
    said = verdict(NAMES, _around(0.01, 0.05), SAME, 3, RULE, synthetic=True)
    assert said.sentence.startswith("SYNTHETIC, plumbing check, not evidence: vae against imagenet")


def _candidates(*tests: float) -> list[Candidate]:
    vals = (0.60, 0.72, 0.70)
    named = zip("abc", vals, tests, strict=True)
    return [Candidate(name, val, _around(test - 0.05, test + 0.05), f"{name}-2") for name, val, test in named]


@given(st.tuples(*[st.floats(0.3, 0.9)] * 3))
def test_val_alone_chooses_what_is_deployed(tests: tuple[float, float, float]) -> None:
    found = recommend(_candidates(*tests), 7, 3, RULE, synthetic=False)
    assert (found.deploy, found.chosen, found.run) == (True, "b", "b-2")


def test_the_recommendation_reports_the_test_images() -> None:
    found = recommend(_candidates(0.9, 0.66, 0.9), 7, 3, RULE, synthetic=False)
    assert found.sentence == (
        "Deploy b, by its run b-2: it has the highest mean balanced accuracy on val (72.0 %); on test it reaches "
        "66.0 % (61.0 to 71.0)."
    )


@pytest.mark.parametrize(
    ("test", "seeds", "synthetic", "reason"),
    [
        (0.66, 3, True, "SYNTHETIC.*No recommendation: drawings say nothing about patients"),
        (0.66, 2, False, "No recommendation: 2 seeds, compare.min_seeds asks for 3"),
        (0.18, 3, False, r"No recommendation: on test it is not surely better than guessing \(14.3 %\)"),
    ],
)
def test_nothing_is_recommended_for_a_reason(test: float, seeds: int, synthetic: bool, reason: str) -> None:
    found = recommend(_candidates(test, test, test), 7, seeds, RULE, synthetic)
    assert not found.deploy
    assert re.match(reason, found.sentence)
