"""Fitness for use: judged by criteria that were fixed in time, each by the unfavourable end of its interval."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.chosen_model.analysis import ChosenModel
from components.chosen_model.fitness import Fitness, judge
from components.clinical.accept import Accept, about_fitness
from components.external_validation.record import as_record
from components.statistics.intervals import Interval
from tests.unit.chosen_model.simulated_choice import choice, manifest
from tests.unit.external_validation.planted_drop import assess_runs, simulate_runs

ACCEPT = Accept(
    fixed="sensitivity", level=0.9, melanoma=0.8, benign=0.5, overconfidence=0.05, subgroups=None, external=None
)


@pytest.fixture(scope="module")
def pad() -> dict[str, Any]:
    """The record of an external test set, on which vae is worse."""
    runs = simulate_runs({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}, lesions=(120, 120))
    return as_record(assess_runs(runs, resamples=50))


def _chosen(low: float = 0.85, over: tuple[float, float, float] = (0.01, -0.02, 0.04)) -> ChosenModel:
    found = choice()
    assert found.melanoma is not None
    return replace(
        found,
        melanoma=replace(found.melanoma, malignant=Interval(0.9, low, 0.95)),
        benign=replace(found.benign, benign=Interval(0.7, 0.6, 0.8)),
        overconfidence=Interval(*over),
    )


def _judge(accept: Accept | None, chosen: ChosenModel | None = None, **changes: Any) -> Fitness:
    given = {"confirmatory": True, "synthetic": False, "external": (), "run": "vae-frozen-1"} | changes
    return judge(accept, chosen or _chosen(), manifest().points[0], **given)


def test_without_criteria_nothing_is_judged() -> None:
    found = _judge(None)
    assert (found.judged, found.fit, found.criteria) == (False, False, ())
    assert found.sentence == "Fit for use: not judged. No criteria were fixed (clinical.accept in params.yaml)."


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"confirmatory": False}, "locked before the test images were opened"), ({"synthetic": True}, "drawings")],
)
def test_criteria_that_were_fixed_too_late_or_are_about_drawings_judge_nothing(changes: Any, words: str) -> None:
    found = _judge(ACCEPT, **changes)
    assert not found.judged and not found.fit
    assert words in found.sentence and found.sentence.startswith("Fit for use: not judged.")
    assert len(found.criteria) == 3


@pytest.mark.parametrize("accept", [None, ACCEPT])
@pytest.mark.parametrize("confirmatory", [True, False])
@pytest.mark.parametrize("synthetic", [True, False])
def test_the_answer_of_the_study_says_of_fitness_what_the_first_page_says(
    accept: Accept | None, confirmatory: bool, synthetic: bool
) -> None:
    known = {"confirmatory": confirmatory, "synthetic": synthetic}
    found, sentence = _judge(accept, **known), about_fitness(accept, **known)
    if found.judged:
        assert sentence.startswith("Fit for use: see the first page, index.html")
    else:
        assert sentence == found.sentence


def test_criteria_of_another_operating_point_judge_nothing() -> None:
    found = _judge(ACCEPT.model_copy(update={"level": 0.95}))
    assert not found.judged and "95 % sensitivity, the model uses that of 90 %" in found.sentence


def test_a_model_that_passes_each_criterion_is_fit() -> None:
    found = _judge(ACCEPT)
    assert found.judged and found.fit and all(each.passed for each in found.criteria)


def test_the_lower_end_decides_and_not_the_mean() -> None:
    found = _judge(ACCEPT, _chosen(low=0.79))
    assert found.judged and not found.fit
    assert [each.name for each in found.criteria if not each.passed] == ["melanomas found"]
    assert found.sentence == "Not fit for use: not passed: melanomas found."


def test_the_whole_interval_of_the_calibration_must_be_inside() -> None:
    assert not _judge(ACCEPT, _chosen(over=(0.01, -0.02, 0.06))).fit
    assert not _judge(ACCEPT, _chosen(over=(-0.01, -0.06, 0.04))).fit


def test_a_criterion_without_a_result_is_not_passed() -> None:
    asked = ACCEPT.model_copy(update={"external": 0.5})
    assert [each.found for each in _judge(asked).criteria if not each.passed] == ["no such result"]


def test_the_models_own_run_is_judged_on_each_external_test_set(pad: dict[str, Any]) -> None:
    own, others = (
        [
            sheet["found"][run]["sensitivity_0.9"]["low"]
            for sheet in pad["sheets"]
            for run in sheet["found"]
            if which(run)
        ]
        for which in ("vae-frozen-1".__eq__, "vae-frozen-1".__ne__)
    )
    assert 0 < own[0] < 1 and own[0] not in others
    for least, fit in ((own[0] - 1e-3, True), (own[0] + 1e-3, False)):
        assert _judge(ACCEPT.model_copy(update={"external": least}), external=[pad]).fit is fit


def test_drawings_are_no_external_test_set(pad: dict[str, Any]) -> None:
    asked = ACCEPT.model_copy(update={"external": 0.01})
    assert _judge(asked, external=[pad]).fit
    drawn = pad | {"plan": pad["plan"] | {"synthetic": True}}
    assert [each.found for each in _judge(asked, external=[drawn]).criteria if not each.passed] == ["no such result"]


def test_each_reported_subgroup_is_judged() -> None:
    found = _judge(ACCEPT.model_copy(update={"subgroups": 0.99}))
    names = [each.name for each in found.criteria if not each.passed]
    assert "melanomas found, skin type II" in names and "melanomas found, sex female" in names
