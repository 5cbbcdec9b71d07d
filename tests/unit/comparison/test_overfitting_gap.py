"""The gap as a quantity: closed forms, scipy's paired t test, and a loop for the onset."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from components.comparison import overfitting_gap
from components.statistics.intervals import Interval
from components.training.epoch_metrics import describe_gap
from components.training.examples import matched_rows


def test_the_curve_holds_a_gap_of_every_quantity() -> None:
    train, val = dict.fromkeys(overfitting_gap.QUANTITIES, 0.9), dict.fromkeys(overfitting_gap.QUANTITIES, 0.7)
    row = describe_gap(train, val)
    assert {name for name in row if name.startswith("gap/")} == {f"gap/{name}" for name in overfitting_gap.QUANTITIES}
    assert row["gap/loss"] == pytest.approx(-0.2)  # a lower loss on val: the opposite of overfitting
    assert row["gap/macro_auroc"] == pytest.approx(0.2)


def test_the_area_is_the_integral() -> None:
    line = np.linspace(0.0, 0.5, 6)  # grows evenly by 0.1 an epoch
    assert overfitting_gap.area(line, 6) == pytest.approx(0.5 * 5 / 2)
    assert overfitting_gap.area(line, 3) == pytest.approx(0.2 * 2 / 2)
    assert overfitting_gap.area(np.full(4, 0.3), 4) == pytest.approx(0.9)
    assert overfitting_gap.area(line, 6) == pytest.approx(stats.uniform.cdf(1) * np.trapezoid(line))


@pytest.mark.parametrize(("gap", "epochs"), [([0.2], 1), ([0.2, 0.3], 3)])
def test_no_area_under_one_epoch_or_past_the_end(gap: list[float], epochs: int) -> None:
    assert np.isnan(overfitting_gap.area(gap, epochs))


@pytest.mark.parametrize(
    ("gap", "epoch"),
    [
        ([0.01, 0.02, 0.06, 0.09], 3),
        ([0.06, 0.02, 0.06, 0.09], 3),  # it began, ended, and began again
        ([0.06, 0.07], 1),
        ([0.06, 0.07, 0.05], None),  # it has to be above
        ([], None),
    ],
)
def test_the_onset_is_where_the_gap_stays(gap: list[float], epoch: int | None) -> None:
    assert overfitting_gap.onset(gap, 0.05) == epoch


@given(st.lists(st.floats(-1, 1), max_size=12), st.floats(-0.5, 0.5))
def test_the_onset_is_that_of_a_loop(gap: list[float], threshold: float) -> None:
    expected = next((e + 1 for e in range(len(gap)) if all(value > threshold for value in gap[e:])), None)
    assert overfitting_gap.onset(gap, threshold) == expected


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-3))
def test_two_arms_are_compared_by_the_paired_t_test(values: list[float]) -> None:
    found = overfitting_gap.paired(np.array(values), 0.9)
    expected = stats.ttest_rel(np.array(values) + 3, np.full(len(values), 3.0))
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    ends = expected.confidence_interval(0.9)
    assert (found.interval.low, found.interval.high) == pytest.approx((ends.low, ends.high), abs=1e-9)


def test_one_seed_decides_no_gap() -> None:
    assert overfitting_gap.paired(np.array([0.3]), 0.95) == overfitting_gap.GapDifference(
        Interval(0.3, -np.inf, np.inf), 1.0
    )


def test_gaps_that_never_differ_and_always_differ() -> None:
    assert overfitting_gap.paired(np.zeros(3), 0.95).p == 1
    assert overfitting_gap.paired(np.full(3, 0.25), 0.95).p == 0


def test_curves_of_different_lengths_are_compared_over_what_all_have() -> None:
    assert overfitting_gap.shared_epochs([pd.DataFrame({"epoch": range(n)}) for n in (5, 3, 4)]) == 3


def test_the_train_sample_has_as_many_of_each_class_as_val() -> None:
    rng = np.random.default_rng(0)
    train, val = rng.integers(0, 4, 500), np.repeat([0, 1, 3], [20, 5, 9])
    rows = matched_rows(train, val, seed=1)
    assert np.bincount(train[rows], minlength=4).tolist() == [20, 5, 0, 9]
    assert (np.diff(rows) > 0).all()
    assert matched_rows(train, val, 1).tolist() == rows.tolist() != matched_rows(train, val, 2).tolist()


def test_of_a_class_that_val_has_more_of_all_train_images_are_taken() -> None:
    train, val = np.array([0, 1, 1, 0, 0]), np.array([0, 1, 1, 1])
    assert matched_rows(train, val, 0)[np.isin(matched_rows(train, val, 0), [1, 2])].tolist() == [1, 2]
    assert len(matched_rows(train, val, 0)) == 3


def test_a_model_that_memorised_nothing_has_no_gap_on_average() -> None:
    """Unequal mixes of classes make a gap where there is none; equal counts do not."""
    rng = np.random.default_rng(0)
    train, val = rng.choice(2, 900, p=[0.9, 0.1]), rng.choice(2, 300, p=[0.5, 0.5])
    recalled = np.array([0.95, 0.4])  # of either class, equal on train and val
    whole, matched = [], []
    for seed in range(300):
        right, on_val = rng.random(900) < recalled[train], (rng.random(300) < recalled[val]).mean()
        whole.append(right.mean() - on_val)
        rows = matched_rows(train, val, seed)
        weights = np.bincount(val)[train[rows]] / np.bincount(train[rows])[train[rows]]
        matched.append(np.average(right[rows], weights=weights) - on_val)
    assert np.mean(whole) > 0.15
    assert abs(np.mean(matched)) < 0.01
