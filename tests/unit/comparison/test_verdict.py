"""The rules: which differences give which outcome, and where their numbers are shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.base.run_id import FinetuneProtocol, RunId
from components.comparison.verdict import Candidate, EstimatedDifference, Outcome, judge, recommend, verdict
from components.report.formatting import p_value
from components.statistics.intervals import Interval
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule

RULE = Rule(confidence=0.95, margin=0.02, min_seeds=3)
RUN = RunId("vae", FinetuneProtocol.FROZEN, 0)


def _question(seeds: int = 3, classes: int = 7, synthetic: bool = False) -> StudyQuestion:
    return StudyQuestion(
        study="simulation",
        arms=("vae", "imagenet"),
        protocols=(FinetuneProtocol.FROZEN,),
        seeds=tuple(range(seeds)),
        reference="imagenet",
        classes=tuple(f"class{k}" for k in range(classes)),
        rule=RULE,
        resamples=100,
        seed=0,
        synthetic=synthetic,
    )


def _around(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high)


def _found(low: float, high: float, margin: float = 0.02) -> EstimatedDifference:
    """A difference whose tests agree with its interval, as for a single comparison."""
    return EstimatedDifference(
        _around(low, high),
        differs=0.5 if low <= 0 <= high else 0.01,
        above_margin=0.01 if low >= -margin else 0.5,
        below_margin=0.01 if high <= margin else 0.5,
    )


SMALLER, SAME, LARGER = _found(-0.08, -0.02), _found(-0.02, 0.03), _found(0.02, 0.06)
ENDLESS = EstimatedDifference(Interval(0.0, -float("inf"), float("inf")), 1.0)


@pytest.mark.parametrize(
    ("accuracy", "gap", "outcome"),
    [
        (_found(0.01, 0.05), SAME, Outcome.SUPERIOR),
        (_found(0.01, 0.05), SMALLER, Outcome.SUPERIOR),
        (_found(0.01, 0.05), LARGER, Outcome.SUPERIOR_LARGER_GAP),
        (_found(-0.01, 0.015), SMALLER, Outcome.EQUIVALENT),
        (_found(0.001, 0.015), SAME, Outcome.EQUIVALENT),  # significantly more, by too little to matter
        (_found(-0.015, -0.001), SMALLER, Outcome.EQUIVALENT),
        (_found(-0.01, 0.03), SMALLER, Outcome.NON_INFERIOR_SMALLER_GAP),
        (_found(-0.01, 0.03), SAME, Outcome.NON_INFERIOR),
        (_found(-0.01, 0.03), LARGER, Outcome.NON_INFERIOR),
        (_found(-0.09, -0.01), SMALLER, Outcome.SMALLER_GAP_LOWER_ACCURACY),  # the paper's pattern
        (_found(-0.09, -0.01), SAME, Outcome.INFERIOR),
        (_found(-0.09, -0.01), LARGER, Outcome.INFERIOR),
        (_found(-0.05, 0.03), SMALLER, Outcome.SMALLER_GAP),
        (_found(-0.05, 0.03), SAME, Outcome.TOO_WIDE),
        (_found(-0.05, 0.03), LARGER, Outcome.TOO_WIDE),
        (ENDLESS, SMALLER, Outcome.SMALLER_GAP),
    ],
)
def test_each_pair_of_differences_has_its_outcome(
    accuracy: EstimatedDifference, gap: EstimatedDifference, outcome: Outcome
) -> None:
    assert judge(accuracy, gap, 3, RULE) is outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"), [(0.01, 0.05, "non-inferior"), (-0.05, -0.01, "not decided"), (-0.01, 0.01, "not")]
)
def test_what_is_not_significant_after_holm_is_not_stated(low: float, high: float, outcome: str) -> None:
    """The interval alone would decide; the corrected p does not."""
    found = EstimatedDifference(
        _around(low, high), differs=0.06, above_margin=0.01 if low > 0 else 0.06, below_margin=0.06
    )
    assert judge(found, SAME, 3, RULE).value.startswith(outcome)


def test_a_gap_that_is_not_significant_after_holm_is_no_smaller_gap() -> None:
    not_significant = EstimatedDifference(SMALLER.interval, differs=0.06)
    assert judge(_found(-0.09, -0.01), not_significant, 3, RULE) is Outcome.INFERIOR
    assert judge(_found(-0.05, 0.03), not_significant, 3, RULE) is Outcome.TOO_WIDE


differences = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(lambda ends: _found(min(ends), max(ends)))
p_values = st.floats(0, 1)
any_differences = st.builds(
    lambda ends, *p: EstimatedDifference(_around(min(ends), max(ends)), *p),
    st.tuples(st.floats(-1, 1), st.floats(-1, 1)), p_values, p_values, p_values,
)  # fmt: skip


@given(any_differences, any_differences, st.integers(1, 2))
def test_too_few_seeds_never_decide(accuracy: EstimatedDifference, gap: EstimatedDifference, seeds: int) -> None:
    assert judge(accuracy, gap, seeds, RULE) is Outcome.TOO_FEW_SEEDS


@given(any_differences, any_differences, st.floats(0, 0.5))
def test_an_interval_that_holds_zero_is_never_superior_or_inferior(
    accuracy: EstimatedDifference, gap: EstimatedDifference, margin: float
) -> None:
    outcome = judge(accuracy, gap, 5, Rule(0.95, margin, 3))
    if accuracy.interval.low <= 0 <= accuracy.interval.high or accuracy.differs > 0.05:
        assert not re.match("superior|inferior|smaller gap, lower", outcome)


@given(differences, differences)
def test_arm_and_reference_exchanged_exchange_superior_and_inferior(
    accuracy: EstimatedDifference, gap: EstimatedDifference
) -> None:
    turned = [_found(-each.interval.high, -each.interval.low) for each in (accuracy, gap)]
    up = {Outcome.SUPERIOR, Outcome.SUPERIOR_LARGER_GAP}
    down = {Outcome.INFERIOR, Outcome.SMALLER_GAP_LOWER_ACCURACY}
    assert (judge(accuracy, gap, 3, RULE) in up) == (judge(*turned, 3, RULE) in down)


def test_every_outcome_is_possible() -> None:
    accuracies = [
        _found(0.01, 0.05),
        _found(-0.01, 0.01),
        _found(-0.01, 0.05),
        _found(-0.09, -0.01),
        _found(-0.05, 0.03),
    ]
    found = {judge(a, g, n, RULE) for a in accuracies for g in (SMALLER, SAME, LARGER) for n in (2, 3)}
    assert found == set(Outcome)


def test_the_sentences_hold_their_numbers_and_name_their_places() -> None:
    accuracy = EstimatedDifference(Interval(-0.037, -0.075, -0.003), 0.0321)
    found = verdict(RUN, accuracy, EstimatedDifference(Interval(-0.05, -0.062, -0.0371), 0.0004), _question())
    assert [(claim.text, claim.anchor) for claim in found.claims] == [
        ("vae against imagenet, encoder frozen: smaller gap, lower accuracy.", "comparison-vae-frozen"),
        (
            "Test balanced accuracy differs by \N{MINUS SIGN}3.7 points (95 % interval \N{MINUS SIGN}7.5 to "
            "\N{MINUS SIGN}0.3), p = 0.032 after Holm.",
            "difference-vae-frozen",
        ),
        (
            "The overfitting gap (loss) differs by \N{MINUS SIGN}0.050 (95 % interval \N{MINUS SIGN}0.062 to "
            "\N{MINUS SIGN}0.037), p < 0.001 after Holm.",
            "gap-difference-vae-frozen",
        ),
        ("From 3 seeds, with a margin of ±2 points.", "rule"),
    ]
    assert found.sentence == " ".join(claim.text for claim in found.claims)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.01, 0.01, "Not more than 2 points worse: p = 0.010 after Holm; nor better: p = 0.010 after Holm."),
        (-0.01, 0.05, "Not more than 2 points worse: p = 0.010 after Holm."),
        (-0.05, 0.05, "Neither a difference nor that it is within 2 points is shown."),
    ],
)
def test_a_verdict_that_rests_on_the_margin_says_so(low: float, high: float, words: str) -> None:
    found = verdict(RUN, _found(low, high), SAME, _question())
    assert (words, "margin-vae-frozen") in [(claim.text, claim.anchor) for claim in found.claims]


def test_too_few_seeds_are_counted_in_the_sentence() -> None:
    lone = EstimatedDifference(Interval(-0.05, -float("inf"), float("inf")), 1.0)
    found = verdict(RUN, _found(0.01, 0.05), lone, _question(seeds=1))
    assert "not decided: too few seeds" in found.sentence
    assert "0.050 (no interval), p = 1.000 after Holm." in found.sentence
    assert found.sentence.endswith("From 1 seed; compare.min_seeds requires 3.")


def test_a_verdict_about_synthetic_images_begins_with_a_warning() -> None:
    found = verdict(RUN, _found(0.01, 0.05), SAME, _question(synthetic=True))
    assert found.sentence.startswith("SYNTHETIC, pipeline check, not evidence: vae against imagenet")


@pytest.mark.parametrize(
    ("value", "text"), [(0.03219, "= 0.032"), (0.001, "= 0.001"), (0.00099, "< 0.001"), (1.0, "= 1.000")]
)
def test_p_values_are_written_with_their_sign(value: float, text: str) -> None:
    assert p_value(value) == text


def _candidates(*tests: float) -> list[Candidate]:
    vals = (0.60, 0.72, 0.70)
    named = zip("abc", vals, tests, strict=True)
    return [Candidate(name, val, _around(test - 0.05, test + 0.05), f"{name}-2") for name, val, test in named]


@given(st.tuples(*[st.floats(0.3, 0.9)] * 3))
def test_val_alone_chooses_what_is_deployed(tests: tuple[float, float, float]) -> None:
    found = recommend(_candidates(*tests), _question())
    assert (found.deploy, found.chosen, found.run) == (True, "b", "b-2")


def test_the_recommendation_reports_the_test_images() -> None:
    found = recommend(_candidates(0.9, 0.66, 0.9), _question())
    assert [(claim.text, claim.anchor) for claim in found.claims] == [
        ("Deploy b, by its run b-2.", "val-b"),
        ("b has the highest mean balanced accuracy on val: 72.0 %.", "val-b"),
        ("On test it reaches 66.0 % (61.0 to 71.0).", "test-b"),
    ]


@pytest.mark.parametrize(
    ("test", "seeds", "synthetic", "reason"),
    [
        (0.66, 3, True, "SYNTHETIC.*No recommendation: synthetic images are no evidence about patients"),
        (0.66, 2, False, "No recommendation: 2 seeds, compare.min_seeds requires 3"),
        (0.18, 3, False, r"No recommendation: on test it is not significantly better than chance \(14.3 %\)"),
    ],
)
def test_nothing_is_recommended_for_a_reason(test: float, seeds: int, synthetic: bool, reason: str) -> None:
    found = recommend(_candidates(test, test, test), _question(seeds, synthetic=synthetic))
    assert not found.deploy
    assert re.match(reason, found.sentence)
