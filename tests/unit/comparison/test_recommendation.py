"""The recommendation: val chooses, and test results, verdicts and few lesions can only withdraw."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.comparison.recommendation import Candidate, recommend
from components.statistics.intervals import Interval
from tests.unit.comparison.test_verdict import _question

MANY = {f"class{k}": 40 for k in range(7)}


def _candidates(*tests: float) -> list[Candidate]:
    vals = (0.60, 0.72, 0.70)
    named = zip("abc", vals, tests, strict=True)
    return [Candidate(name, val, f"{name}-2", Interval(t, t - 0.05, t + 0.05)) for name, val, t in named]


@given(st.tuples(*[st.floats(0.3, 0.9)] * 3))
def test_val_alone_chooses(tests: tuple[float, float, float]) -> None:
    found = recommend(_candidates(*tests), _question(), MANY)
    assert (found.recommended, found.chosen, found.run) == (True, "b", "b-2")


def test_the_best_candidate_is_named_with_the_test_figure_of_its_run() -> None:
    found = recommend(_candidates(0.9, 0.66, 0.9), _question(), MANY)
    assert [(claim.text, claim.anchor) for claim in found.claims] == [
        ("Best candidate for external testing: b, run b-2.", "val-b"),
        ("b has the highest mean balanced accuracy on val: 72.0 %.", "val-b"),
        ("On test, this run reaches 66.0 % (61.0 to 71.0).", "test-b"),
    ]
    assert "deploy" not in found.sentence.lower()


@pytest.mark.parametrize(
    ("test", "seeds", "synthetic", "reason"),
    [
        (0.66, 3, True, "SYNTHETIC.*No recommendation: synthetic images are no evidence about patients"),
        (0.66, 2, False, "Recommendation not decided: 2 seeds, compare.min_seeds requires 3"),
        (0.18, 3, False, r"No recommendation: on test, run b-2 is not significantly better than chance \(14.3 %\)"),
    ],
)
def test_nothing_is_recommended_for_a_reason(test: float, seeds: int, synthetic: bool, reason: str) -> None:
    found = recommend(_candidates(test, test, test), _question(seeds, synthetic=synthetic), MANY)
    assert not found.recommended
    assert re.match(reason, found.sentence)


def test_a_model_that_a_verdict_calls_inferior_is_not_recommended() -> None:
    first, best, last = _candidates(0.6, 0.6, 0.6)
    found = recommend([first, replace(best, inferior_to="c"), last], _question(), MANY)
    assert not found.recommended
    assert found.sentence.startswith("No recommendation: b is best on val, but its verdict on test is inferior to c.")


def test_a_model_that_is_not_surely_above_a_baseline_is_recommended_with_that_sentence_alone() -> None:
    first, best, last = _candidates(0.6, 0.6, 0.6)
    words = "b is not significantly above the baseline colour: +1.0 points (95 % interval \u22122.0 to +4.0)"
    found = recommend([first, replace(best, warning=words), last], _question(), MANY)
    assert found.recommended
    assert found.claims[0].text == f"Best candidate for external testing: b, run b-2; {words}."


def test_a_model_that_is_surely_below_a_baseline_is_not_recommended() -> None:
    first, best, last = _candidates(0.6, 0.6, 0.6)
    words = "b is below the baseline colour: \u22124.0 points (95 % interval \u22126.0 to \u22122.0)"
    found = recommend([first, replace(best, warning=words, below="colour"), last], _question(), MANY)
    assert not found.recommended
    assert found.claims[0].text == f"No recommendation: b is best on val, but on test {words}."


def test_a_class_with_few_test_lesions_decides_no_recommendation() -> None:
    found = recommend(_candidates(0.6, 0.6, 0.6), _question(), MANY | {"class3": 9})
    assert not found.recommended
    assert found.sentence.startswith("Recommendation not decided: fewer than 10 test lesions of class3 (9);")


@pytest.mark.parametrize("lesions", [3, 12, 400])
def test_a_perfect_result_without_an_interval_is_never_recommended(lesions: int) -> None:
    """24 images, all correct: every resample is equal, so that the width of the interval says nothing."""
    perfect = [Candidate("imagenet-frozen", 1.0, "imagenet-frozen-0", Interval(1.0, 1.0, 1.0))]
    found = recommend(perfect, _question(classes=2), {"class0": lesions, "class1": lesions})
    assert not found.recommended
    assert found.sentence.startswith("Recommendation not decided")
