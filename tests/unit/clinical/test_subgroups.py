"""Subgroups: numbers against naive ones, and what is found where the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from components.clinical import attributes, subgroups
from components.clinical.attributes import UNKNOWN
from components.clinical.subgroups import SubgroupAnswers
from components.statistics.resampled import Resampled
from tests.unit.clinical.simulation import resampled

CLASSES = ("a", "b", "c")
PAIR = 2


def _draw(seed: int, lesions: int = 240, worse: float = 0.0) -> tuple[Resampled, SubgroupAnswers, pd.DataFrame]:
    """Two images a lesion, right in 70 %; those at the `left` are right `worse` less often."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, 3, lesions), PAIR)
    side = np.repeat(rng.choice(["left", "right"], lesions), PAIR)
    chance = np.where(side == "left", 0.7 - worse, 0.7)
    right = rng.random((PAIR, lesions * PAIR)) < chance  # two seeds
    malignant = labels == 0
    called = np.where(rng.random(right.shape) < 0.8, malignant, ~malignant)
    table = pd.DataFrame({"side": side, "noise": np.repeat(rng.choice(list("pqr"), lesions), PAIR)})
    groups = np.arange(lesions * PAIR) // PAIR
    return resampled(labels, groups, resamples=300), SubgroupAnswers(right, called, malignant), table


def _find(found: subgroups.Subgroups, value: str) -> subgroups.Subgroup:
    return next(each for each in found.subgroups if each.value == value)


def test_values_ascend_with_unknown_last() -> None:
    table = pd.DataFrame(
        {
            "age": ["60 and over", "unknown", "under 40", "40 to 59"],
            "brightness": ["bright", "dark", "medium", "dark"],
        }
    )
    order = [value for _, value, _ in subgroups._values(table)]
    assert order == ["under 40", "40 to 59", "60 and over", UNKNOWN, "dark", "medium", "bright"]


def test_numbers_are_naive_ones() -> None:
    sample, answers, table = _draw(0)
    found = _find(subgroups.compare_subgroups(sample, answers, table, CLASSES, 20), "left")
    inside = (table["side"] == "left").to_numpy()

    def accuracy(images: np.ndarray) -> float:
        return np.mean([[seed[images & (sample.labels == k)].mean() for k in range(3)] for seed in answers.right])

    assert found.values["balanced_accuracy"].mean == pytest.approx(accuracy(inside))
    assert found.differences["balanced_accuracy"].mean == pytest.approx(accuracy(inside) - accuracy(~inside))
    ill = answers.malignant
    sensitivity = answers.called[:, inside & ill].mean() - answers.called[:, ~inside & ill].mean()
    assert found.differences["sensitivity"].mean == pytest.approx(sensitivity)
    specificity = (~answers.called)[:, inside & ~ill].mean()
    assert found.values["specificity"].mean == pytest.approx(specificity)
    assert (found.images, found.groups) == (inside.sum(), inside.sum() // PAIR)


def test_both_sides_are_measured_on_the_classes_that_both_hold() -> None:
    """All of class c is at the left and never recognised: the other classes of the left are not worse."""
    sample, answers, table = _draw(1)
    table.loc[sample.labels == 2, "side"] = "left"
    right = np.where(sample.labels == 2, False, answers.right)
    found = _find(
        subgroups.compare_subgroups(sample, SubgroupAnswers(right, None, answers.malignant), table, CLASSES, 20), "left"
    )
    assert found.classes == ("a", "b")
    assert abs(found.differences["balanced_accuracy"].mean) < 0.15
    assert set(found.values) == {"balanced_accuracy"}


def test_few_lesions_give_no_number_however_many_images() -> None:
    sample, answers, table = _draw(2)
    table["rare"] = np.where(np.arange(len(table)) < 19 * PAIR, "few", "many")
    found = subgroups.compare_subgroups(sample, answers, table, CLASSES, 20)
    few = _find(found, "few")
    assert (few.images, few.groups, dict(few.values), dict(few.differences)) == (38, 19, {}, {})
    assert not _find(found, "many").differences  # its rest is the few
    wider = subgroups.compare_subgroups(sample, answers, table, CLASSES, 19)
    assert "balanced_accuracy" in _find(wider, "few").differences


def test_a_subgroup_that_is_worse_is_found() -> None:
    sample, answers, table = _draw(3, lesions=600, worse=0.3)
    found = subgroups.compare_subgroups(sample, answers, table, CLASSES, 20)
    worst = found.worst("balanced_accuracy")
    assert worst is not None
    assert (worst.attribute, worst.value) == ("side", "left")
    assert worst.is_worse("balanced_accuracy")
    assert not any(each.is_worse("balanced_accuracy") for each in found.subgroups if each.attribute == "noise")
    assert worst.differences["balanced_accuracy"].low < -0.3 < worst.differences["balanced_accuracy"].high


def test_where_every_lesion_is_right_there_is_still_variance() -> None:
    """21 of 21 right against 9 of 10: resampled, the 21 never err, but their true share may be nine of ten."""
    rng = np.random.default_rng(0)
    few = np.arange(800) < 21
    labels = np.zeros(800, int)
    right = few | (rng.random(800) < 0.9)
    answers = SubgroupAnswers(np.stack([right, right]), None, labels == 1)
    table = pd.DataFrame({"side": np.where(few, "few", "many")})
    found = _find(subgroups.compare_subgroups(resampled(labels), answers, table, CLASSES, 20), "few")
    difference = found.differences["balanced_accuracy"]
    assert difference.mean == pytest.approx(1 - right[~few].mean())
    assert difference.low < 0 < difference.mean <= difference.high


def test_counted_interval_is_agresti_and_caffos() -> None:
    """56 of 70 against 48 of 80, by their formula; two equal classes halve the variance."""
    low, high = subgroups.counted_interval(np.array([[56 / 70], [48 / 80]]), np.array([[70], [80]]), 0.95)
    a, b = 57 / 72, 49 / 82
    reach = norm.ppf(0.975) * np.sqrt(a * (1 - a) / 72 + b * (1 - b) / 82)
    assert (low, high) == pytest.approx((a - b - reach, a - b + reach))
    two = subgroups.counted_interval(np.array([[0.8, 0.8], [0.6, 0.6]]), np.array([[70, 70], [80, 80]]), 0.95)
    assert two[1] - two[0] == pytest.approx((high - low) / np.sqrt(2))


def test_a_seed_that_disagrees_makes_it_not_significant() -> None:
    sample, answers, table = _draw(3, lesions=600, worse=0.3)
    reversed_seed = np.where(table["side"] == "left", True, answers.right[0])
    right = np.stack([*([answers.right[0]] * 5), reversed_seed])
    found = subgroups.compare_subgroups(sample, SubgroupAnswers(right, None, answers.malignant), table, CLASSES, 20)
    left = _find(found, "left")
    assert left.differences["balanced_accuracy"].high < 0
    assert not left.is_worse("balanced_accuracy")


def test_unknown_is_no_worst_subgroup() -> None:
    sample, answers, table = _draw(4, worse=0.4)
    table["side"] = table["side"].replace("left", UNKNOWN)
    worst = subgroups.compare_subgroups(sample, answers, table, CLASSES, 20).worst("balanced_accuracy")
    assert worst is not None
    assert worst.value != UNKNOWN


def test_equal_subgroups_are_rarely_called_different() -> None:
    """Of 150 studies of equal subgroups, at most one in twenty may claim a difference, up to simulation error."""
    claims = 0
    for seed in range(150):
        sample, answers, table = _draw(seed, lesions=150)
        found = subgroups.compare_subgroups(sample, answers, table, CLASSES, 20)
        intervals = [interval for each in found.subgroups for interval in each.differences.values()]
        assert 10 <= found.comparisons == len(intervals) <= 15
        claims += any(interval.low > 0 or interval.high < 0 for interval in intervals)
    assert claims / 150 < 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 150)


@pytest.mark.parametrize("number", [1, 5, 40])
def test_independent_differences_need_sidaks_confidence(number: int) -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(number, 20_000))
    found = subgroups.joint_confidence(np.hstack([np.zeros((number, 1)), draws]), 0.95)
    expected = 0.95 ** (1 / number)
    assert norm.ppf((1 + found) / 2) == pytest.approx(norm.ppf((1 + expected) / 2), rel=0.02)


def test_identical_differences_count_once() -> None:
    draws = np.random.default_rng(0).normal(size=20_000)
    moved = np.tile(np.append(0.0, draws), (40, 1))
    assert subgroups.joint_confidence(moved, 0.95) == pytest.approx(0.95, abs=0.003)


def test_a_single_hidden_size_also_hides_the_next_smallest() -> None:
    assert attributes.hidden_sizes({"a": 3, "b": 40, "c": 90}, 20) == {"a", "b"}
    assert attributes.hidden_sizes({"a": 3, "b": 4, "c": 90}, 20) == {"a", "b"}
    assert attributes.hidden_sizes({"a": 30, "b": 40, "unknown": 3}, 20) == set()
    assert attributes.hidden_sizes({"a": 3, "b": 40, "unknown": 500}, 20) == {"a", "b"}


def test_each_skin_type_has_its_row_and_one_of_few_lesions_shows_nothing() -> None:
    sample, answers, table = _draw(0)
    types = np.repeat(np.array(["1", "2", "3", "unknown"]), [200, 200, 60, 20])
    types[-24:-20] = "6"  # two lesions
    found = subgroups.compare_subgroups(
        sample, answers, table.assign(**{subgroups.SKIN_TYPE: types}), CLASSES, least=20
    ).by_skin_type()
    assert [name for name, _ in found] == ["I", "II", "III", "IV", "V", "VI"]
    shown = {name: each.images for name, each in found if each}
    assert shown == {"I": 200, "II": 200}  # III is left out with VI, whose size the total would reveal
    assert all(each is None for _, each in subgroups.Subgroups(20, (), 0, 0.95).by_skin_type())
