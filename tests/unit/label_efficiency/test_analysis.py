"""Learning curves over lesions: planted curves are found again, and what is not known is not claimed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from components.base.errors import DataError
from components.label_efficiency.analysis import LabelEfficiencyResult
from components.label_efficiency.crossing import (
    ShareOutcome,
)
from components.label_efficiency.record import as_record
from components.label_efficiency.wording import crossing_sentence, summary
from tests.unit.label_efficiency.planted_curves import (
    CROSSING,
    QUESTION,
    SETTINGS,
    TRUTH,
    assess_runs,
    simulate_runs,
)


def test_planted_crossing_and_saving_are_found(result: LabelEfficiencyResult) -> None:
    (one,) = (each for each in result.comparisons if each.metric == "balanced_accuracy")
    assert not one.ahead and one.turns == 1
    assert one.crossing.outcome is ShareOutcome.WITHIN
    assert one.crossing.low < CROSSING < one.crossing.high
    assert one.crossing.share == pytest.approx(CROSSING, rel=0.25)
    assert one.enough.outcome is ShareOutcome.BEYOND and one.enough.beyond == 1  # it ends nine points lower
    other = assess_runs(simulate_runs(), replace(QUESTION, reference="vae")).comparisons[0]
    reached = 2 ** (np.log2(CROSSING) + (TRUTH["vae"][-1] - 0.7) / 0.08)
    assert other.enough.low < reached < other.enough.high
    assert other.ahead and other.crossing.outcome is ShareOutcome.WITHIN


def test_scores_and_differences_are_means_over_seeds(result: LabelEfficiencyResult) -> None:
    runs = [run for run in simulate_runs(lesions=800) if run.id.share == 0.25]
    right = {arm: [] for arm in QUESTION.arms}
    for run in runs:
        table = run.predictions
        right[run.arm].append(((table["p_malignant"] > 0.5) == (table["label"] == "malignant")).mean())
    points = {point.arm: point for point in result.points if point.share == 0.25}
    for arm, values in right.items():
        assert points[arm].scores["balanced_accuracy"].mean == pytest.approx(np.mean(values))
        assert points[arm].lesions == 200
    apart = points["vae"].differences["balanced_accuracy"]
    assert apart.mean == pytest.approx(np.mean(right["vae"]) - np.mean(right["imagenet"]))
    assert apart.low < apart.mean < apart.high and not points["imagenet"].differences
    assert len(result.points) == 8 and result.train_lesions == 800 and result.test_lesions == 800


def test_an_arm_that_is_behind_everywhere_does_not_cross() -> None:
    one = assess_runs(simulate_runs({"vae": TRUTH["vae"] - 0.2, "imagenet": TRUTH["vae"]})).comparisons[0]
    assert one.crossing.outcome is ShareOutcome.BELOW and one.crossing.outside > 0.97 and not one.ahead
    assert one.enough.outcome is ShareOutcome.BEYOND


def test_equal_arms_are_not_decided() -> None:
    runs = simulate_runs({"vae": TRUTH["vae"], "imagenet": TRUTH["vae"]})
    assert assess_runs(runs).comparisons[0].crossing.outcome is ShareOutcome.OPEN
    copies = [
        replace(run, predictions=twin.predictions) for run, twin in zip(runs, [*runs[12:], *runs[12:]], strict=True)
    ]
    twins = assess_runs(copies)
    assert twins.comparisons[0].crossing.outcome is ShareOutcome.OPEN
    assert "vae and imagenet are equal with all 800 train lesions" in crossing_sentence(twins.comparisons[0], twins)


def test_two_seeds_decide_nothing() -> None:
    settings = SETTINGS.model_copy(update={"seeds": (0, 1)})
    found = assess_runs(simulate_runs(settings=settings), settings=settings)
    assert {each.crossing.outcome for each in found.comparisons} == {ShareOutcome.TOO_FEW_SEEDS}
    assert all("2 seeds, compare.min_seeds requires 3" in line for line in summary(found))


def test_a_single_seed_has_the_between_lesion_variance_alone() -> None:
    settings = SETTINGS.model_copy(update={"seeds": (0,)})
    found = assess_runs(simulate_runs(settings=settings), settings=settings)
    assert np.isfinite(found.points[0].scores["balanced_accuracy"].low)
    json.dumps(as_record(found), allow_nan=False)


def test_places_lie_on_the_shares_that_were_reached() -> None:
    """Classes keep two lesions, so small subsets hold more than their share: the crossing moves with them."""
    runs, more = simulate_runs(), []
    for run in runs:
        size = {"lesions": 150} if run.id.share == 0.125 else {"lesions": 300} if run.id.share == 0.25 else {}
        more.append(replace(run, summary={**run.summary, **size}))
    asked, reached = (assess_runs(each) for each in (runs, more))
    assert reached.lesions == (150, 300, 400, 800)
    first, second = (each.comparisons[0].crossing.share for each in (asked, reached))
    assert 0.25 < first < 0.5
    assert second == pytest.approx(2 ** np.interp(np.log2(first), np.log2([0.25, 0.5]), np.log2([0.375, 0.5])))


def test_arms_with_other_train_lesions_are_refused() -> None:
    runs = simulate_runs()
    runs[1] = replace(runs[1], summary={**runs[1].summary, "train_index_sha256": "another"})
    with pytest.raises(DataError, match=r"vae-frozen-0-0.25 and imagenet-frozen-0-0.25 differ in train_index_sha256"):
        assess_runs(runs)


def test_a_missing_point_is_named() -> None:
    with pytest.raises(DataError, match=r"no predictions of vae-frozen-0-0.125, .*label_efficiency.seeds"):
        assess_runs(simulate_runs()[1:])


def test_runs_of_several_data_sets_are_refused() -> None:
    runs = simulate_runs()
    runs[1] = replace(runs[1], summary={**runs[1].summary, "all_lesions": 900})
    with pytest.raises(
        DataError, match=r"have \[800, 900\] as the number of all train lesions.*dvc repro -f finetune_subset"
    ):
        assess_runs(runs)
