"""Baselines: an arm that is not significantly above each of them is said to be so, first and with numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.comparison.against_null import BaselineDifference
from components.comparison.protocol import Standing
from components.comparison.sentences import headline, summary
from components.statistics.intervals import Interval
from tests.unit.comparison.simulated_study import Truth, simulate_comparison

TRUTH = Truth(
    right={"vae": 0.55, "imagenet": 0.80, "colour": 0.70, "random": 0.48},
    gap=dict.fromkeys(("vae", "imagenet", "colour", "random"), 0.1),
    baselines=("colour", "random"),
)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory):
    return simulate_comparison(TRUTH, tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.05, ""),
        (-0.02, 0.06, "is not significantly above the baseline colour: +2.0 points (95 % interval \u22122.0 to +6.0)"),
        (-0.06, 0.02, "is below the baseline colour: \u22122.0 points (95 % interval \u22126.0 to +2.0)"),
        (-0.06, -0.02, "is below the baseline colour: \u22124.0 points (95 % interval \u22126.0 to \u22122.0)"),
    ],
)
def test_where_an_arm_stands_by_its_interval(low: float, high: float, words: str) -> None:
    found = BaselineDifference("colour", Interval((low + high) / 2, low, high))
    assert found.describe(0.95) == words
    assert (found.surely_above, found.surely_below) == (low > 0, high < 0)


def test_of_one_seed_no_arm_is_surely_above() -> None:
    found = BaselineDifference("colour", Interval(0.2, -float("inf"), float("inf")))
    assert found.describe(0.95) == "is not significantly above the baseline colour: +20.0 points (no interval)"


def test_arms_are_compared_with_baselines_and_baselines_with_nothing(simulated) -> None:
    comparison, _ = simulated
    assert comparison.baselines == ("colour", "random")
    for row in comparison.rows:
        names = [each.baseline for each in comparison.against_null[row.name].baselines]
        assert names == ([] if row.arm in comparison.baselines else ["colour", "random"])


def test_the_difference_is_that_of_the_verdict_with_the_sides_exchanged(simulated) -> None:
    """The verdict compares colour with imagenet; here imagenet is compared with colour."""
    comparison, _ = simulated
    for each in comparison.differences:
        if each.arm == "colour":
            mine = comparison.against_null[f"imagenet-{each.protocol}"].baselines[0].difference
            its = each.test["balanced_accuracy"]
            assert (mine.mean, mine.low, mine.high) == pytest.approx((-its.mean, -its.high, -its.low), abs=1e-9)


def test_a_deep_arm_below_a_baseline_is_said_to_be_so_in_the_first_sentence(simulated) -> None:
    comparison, _ = simulated
    verdicts = {each.name: each.verdict.claims[0].text for each in comparison.differences}
    of_vae = verdicts["vae-frozen"]
    assert "vae is below the baseline colour: \u22121" in of_vae and "baseline random" not in of_vae
    assert not any("imagenet is" in text for text in verdicts.values())  # above both
    first = next(claim.text for claim in headline(comparison) if claim.text.startswith("vae against"))
    assert "vae is below the baseline colour: " in first
    assert (
        summary(comparison, Standing(False, "Exploratory.", ""), "Not judged.")[0].count("is below the baseline colour")
        == 1
    )


def test_where_val_chooses_a_baseline_the_recommendation_says_so(tmp_path) -> None:
    right = {"imagenet": 0.55, "colour": 0.70}
    truth = replace(TRUTH, right=right, gap=dict.fromkeys(right, 0.1), protocols=TRUTH.protocols[:1])
    comparison, _ = simulate_comparison(truth, tmp_path)
    found = comparison.recommendation
    assert found.recommended and found.chosen == "colour-frozen"
    assert found.claims[0].text.endswith("; colour is itself a baseline.")
    verdict = comparison.differences[0].verdict
    assert "baseline" not in " ".join(verdict.warnings)  # that imagenet is below colour is what the verdict says
