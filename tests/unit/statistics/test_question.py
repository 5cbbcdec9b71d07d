"""The question of a study: enough resamples for Holm's correction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.statistics.intervals import estimate
from components.statistics.question import StudyQuestion
from components.statistics.resampled import ANY, resample
from components.statistics.significance import holm, smallest_adjusted_p
from tests.unit.robustness.simulated_runs import QUESTION


def decided(question: StudyQuestion, tests: int) -> bool:
    """Whether one difference without any doubt is significant in a family whose other tests find nothing."""
    rng = np.random.default_rng(0)
    values = 1 + 0.01 * rng.normal(size=200)  # a hundred standard deviations above zero, one image a lesion
    sample = resample(np.zeros(200, int), np.arange(200), question.resamples, question.rule.confidence, rng)
    means = values @ sample.weights / sample.weights.sum(0)
    p = estimate([sample.design.split(means)] * 2, sample.design.strata, ANY).p_value()
    return holm([p, *[1.0] * (tests - 1)])[0] <= question.rule.alpha


@pytest.mark.parametrize("alpha", [0.05, 0.015, 0.01])
@pytest.mark.parametrize("tests", [1, 4, 63, 200])
def test_a_difference_without_doubt_can_be_significant_in_a_family_of_any_size(tests: int, alpha: float) -> None:
    few = replace(QUESTION, resamples=1, rule=replace(QUESTION.rule, confidence=1 - alpha))
    enough = few.with_resamples_for(tests)
    assert decided(enough, tests)
    assert not decided(replace(enough, resamples=enough.resamples - 1), tests), "one fewer is not enough"
    assert enough.too_few == 1
    assert smallest_adjusted_p(enough.resamples, tests) <= alpha < smallest_adjusted_p(enough.resamples - 1, tests)


def test_enough_resamples_stay_as_they_are() -> None:
    assert QUESTION.with_resamples_for(4) is QUESTION
    assert QUESTION.with_resamples_for(20).with_resamples_for(30).too_few == QUESTION.resamples
    assert QUESTION.with_resamples_for(0) is QUESTION, "a study of one arm compares nothing"


def test_the_drops_of_an_external_test_set_are_no_larger_a_family_than_the_verdicts() -> None:
    """So that compare and external validation share their resamples."""
    for arms in range(2, 9):
        question = replace(QUESTION, arms=(*(f"arm{i}" for i in range(arms - 1)), QUESTION.reference))
        assert len(question.arms) * len(question.protocols) <= question.tests
