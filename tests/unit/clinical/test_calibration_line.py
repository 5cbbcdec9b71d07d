"""Calibration intercept and slope against scikit-learn, closed forms and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression

from components.clinical.calibration_line import MOST_EXACT, calibration_line, measure_line
from tests.unit.clinical.simulation import resampled


def test_intercept_and_slope_are_those_of_logistic_regression() -> None:
    rng = np.random.default_rng(3)
    p = rng.uniform(0.02, 0.98, MOST_EXACT)
    observed = rng.random(MOST_EXACT) < special.expit(0.6 * special.logit(p) - 0.8)
    weights = np.concatenate([np.ones((MOST_EXACT, 1)), rng.poisson(1, (MOST_EXACT, 5))], axis=1).astype(np.float32)
    intercept, slope = calibration_line(p, observed, weights)
    for column in range(6):
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
        model.fit(special.logit(p)[:, None], observed, sample_weight=weights[:, column])
        assert slope[column] == pytest.approx(model.coef_[0, 0], abs=1e-5)
        moved = special.expit(special.logit(p) + intercept[column])
        assert np.average(moved, weights=weights[:, column]) == pytest.approx(  # the score equation of the intercept
            np.average(observed, weights=weights[:, column]), abs=1e-9
        )


def test_a_calibrated_model_has_intercept_zero_and_slope_one() -> None:
    rng = np.random.default_rng(4)
    p = rng.beta(1, 3, 200_000)
    intercept, slope = calibration_line(p, rng.random(len(p)) < p, np.ones((len(p), 1), np.float32))
    assert intercept[0] == pytest.approx(0, abs=0.02)
    assert slope[0] == pytest.approx(1, abs=0.02)


def test_the_line_of_one_kind_of_images_is_not_known() -> None:
    weights = np.array([[1, 1], [1, 0], [1, 0]], np.float32)
    intercept, slope = calibration_line(np.array([0.2, 0.6, 0.7]), np.array([False, True, False]), weights)
    assert np.isfinite(intercept[0])
    assert np.isnan(intercept[1]) and np.isnan(slope[1])


def test_probabilities_of_zero_and_one_keep_the_line_finite() -> None:
    p = np.array([0.0, 1.0, 0.5, 0.3, 0.8, 1.0])
    observed = np.array([False, True, True, False, True, False])
    intercept, slope = calibration_line(p, observed, np.ones((6, 1), np.float32))
    assert np.isfinite([intercept[0], slope[0]]).all()


def test_grouped_resamples_differ_from_exact_ones_by_far_less_than_their_spread() -> None:
    rng = np.random.default_rng(5)
    p = rng.beta(1, 6, 5 * MOST_EXACT)
    observed = rng.random(len(p)) < special.expit(1.3 * special.logit(p) + 0.5)
    weights = np.hstack([np.ones((len(p), 1)), rng.poisson(1, (len(p), 30))]).astype(np.float32)
    found = np.array(calibration_line(p, observed, weights))  # (2, C)
    alone = [calibration_line(p, observed, weights[:, [column]]) for column in range(weights.shape[1])]
    exact = np.array(alone)[:, :, 0].T
    np.testing.assert_allclose(found[:, 0], exact[:, 0], rtol=1e-12)
    assert (np.abs(found - exact).max(1) < 0.1 * exact.std(1)).all()


def test_log_odds_that_separate_the_events_have_no_slope() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.7, 0.8])
    intercept, slope = calibration_line(p, p > 0.5, np.ones((5, 1), np.float32))
    assert np.isfinite(intercept[0])
    assert np.isnan(slope[0])


def test_the_interval_of_a_line_holds_the_truth() -> None:
    """Probabilities with known intercept and slope, three seeds that share their lesions: about 95 of 100 intervals."""
    rng = np.random.default_rng(6)
    held = []
    for _ in range(40):
        x = rng.normal(-1, 1.2, 180)
        observed = rng.random(180) < special.expit(x)
        seeds = [special.expit((x + 0.4 + rng.normal(0, 0.05)) / 0.8) for _ in range(3)]  # too high, too extreme
        line = measure_line(seeds, observed, resampled(observed.astype(int), resamples=100))
        held.append(line.slope.low <= 0.8 <= line.slope.high)
        assert line.observed == observed.mean()
    assert 0.85 <= np.mean(held) <= 1
