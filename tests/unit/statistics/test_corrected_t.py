"""The mean over folds against a computation by hand, scipy's t test and a simulated cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from benchmarks import folds
from components.statistics.corrected_t import fold_mean

VALUES = np.array([0.01, 0.03, 0.02, 0.05, 0.04])


def test_interval_and_p_value_by_hand() -> None:
    found = fold_mean(VALUES, test_by_train=1 / 3)
    error = np.sqrt((1 / 5 + 1 / 3) * 0.00025)  # the variance of 1, 3, 2, 5, 4 is 2.5
    assert found.mean == pytest.approx(0.03)
    assert found.error == pytest.approx(error) == pytest.approx(0.011547, abs=1e-6)
    interval = found.interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((0.03 - 2.776445 * error, 0.03 + 2.776445 * error))
    assert found.p_value() == pytest.approx(2 * student.sf(0.03 / error, 4))
    assert found.p_value(0.03) == 1


def test_without_the_correction_it_is_the_t_test() -> None:
    expected = ttest_1samp(VALUES, 0.015)
    found = fold_mean(VALUES, test_by_train=0.0)
    assert found.p_value(0.015) == pytest.approx(expected.pvalue)
    reference = expected.confidence_interval(0.9)
    interval = found.interval(0.9)
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high))


@pytest.mark.parametrize("null", [-0.02, 0.0, 0.004, 0.03, 0.07])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_p_value_and_interval_agree(null: float, confidence: float) -> None:
    found = fold_mean(VALUES, test_by_train=0.25)
    interval = found.interval(confidence)
    assert (found.p_value(null) < 1 - confidence) == (not interval.low <= null <= interval.high)


@pytest.mark.parametrize("values", [[0.1], [0.1, 0.1, 0.1], [0.1, np.nan, 0.2], [0.1 + 0.2, 0.3, 0.3]])
def test_a_variance_that_is_not_known_decides_nothing(values: list[float]) -> None:
    found = fold_mean(np.array(values), test_by_train=0.5)
    assert not found.interval(0.95).known
    assert found.p_value() == 1


def test_the_interval_stays_inside_the_bounds() -> None:
    interval = fold_mean(np.array([0.9, 0.99, 1.0]), test_by_train=1.0, bounds=(0.0, 1.0)).interval(0.95)
    assert interval.high == 1
    assert 0 <= interval.low < interval.mean


def test_the_corrected_interval_covers_where_the_plain_one_does_not() -> None:
    """The slim form of `python -m benchmarks.folds`, whose table is in docs/methods.md."""
    found = folds.simulate(folds.WORLDS[1], repeats=1000, resamples=0)
    assert 0.93 <= found["corrected t"].covered <= 0.995
    assert found["corrected t"].alarms <= 0.05
    assert found["plain t"].covered < 0.93
    assert found["corrected t"].alarms < found["plain t"].alarms
