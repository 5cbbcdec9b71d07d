"""Risk and coverage against naive loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from components.clinical import abstention
from components.statistics.weighting import unit_weights
from tests.unit.clinical.simulation import calibrated, resampled


def _naive(confidence: np.ndarray, wrong: np.ndarray) -> float:
    """The mean, over images, of the risk when all images of at least that confidence are answered."""
    return float(np.mean([wrong[confidence >= own].mean() for own in confidence]))


def _area(confidence: np.ndarray, wrong: np.ndarray) -> float:
    return float(abstention.area(*abstention.risk_and_coverage(confidence, wrong, unit_weights(len(wrong))))[0])


@pytest.mark.parametrize("digits", [8, 1])
def test_area_is_the_naive_mean_ties_included(digits: int) -> None:
    rng = np.random.default_rng(0)
    confidence, wrong = rng.random(150).round(digits), rng.random(150) < 0.3
    assert _area(confidence, wrong) == pytest.approx(_naive(confidence, wrong))


def test_area_in_a_resample_is_that_of_repeated_images() -> None:
    labels, p = calibrated(90, np.random.default_rng(1))
    sample = resampled(labels, np.arange(90) // 3, resamples=12)
    found = abstention.measure_risk_coverage(sample, [p.round(1)]).areas[0]
    for column in range(13):
        drawn = np.repeat(np.arange(90), sample.weights[:, column].astype(int))
        confidence, right = p.round(1)[drawn].max(1), p.round(1)[drawn].argmax(1) == labels[drawn]
        assert found[column] == pytest.approx(_naive(confidence, ~right))


def test_a_model_of_constant_confidence_has_its_error_rate_for_area() -> None:
    wrong = np.arange(40) < 10
    assert _area(np.full(40, 0.7), wrong) == 0.25


def test_the_best_area_is_the_closed_form() -> None:
    """r + (1 - r) ln(1 - r) for many images (Geifman, Uziel & El-Yaniv 2019, eq. 4)."""
    wrong = np.arange(20_000) < 5000
    assert abstention.best_area(wrong) == pytest.approx(0.25 + 0.75 * np.log(0.75), abs=1e-3)
    assert abstention.best_area(wrong) <= _area(np.random.default_rng(0).random(20_000), wrong)
    assert abstention.best_area(np.zeros(5, bool)) == 0


def test_risk_at_a_coverage_is_that_of_so_many_images() -> None:
    rng = np.random.default_rng(2)
    confidence, wrong = rng.random(200), rng.random(200) < 0.4
    curve = abstention.risk_and_coverage(confidence, wrong, unit_weights(200))
    order = np.argsort(-confidence)
    found = abstention.risk_at(*curve, np.array([0.1, 0.5, 1.0]))[:, 0]
    assert found == pytest.approx([wrong[order[:20]].mean(), wrong[order[:100]].mean(), wrong.mean()])


def test_val_chooses_the_threshold_and_test_shows_what_it_answers() -> None:
    rng = np.random.default_rng(3)
    val, test = calibrated(20_000, rng), calibrated(20_000, rng)
    sample = resampled(test[0], np.arange(20_000) // 100, resamples=30)
    found = abstention.assess_abstention(
        sample, [val[1]], [test[1]], abstention.measure_risk_coverage(sample, [test[1]]), 0.8
    )
    line = np.quantile(val[1].max(1), 0.2)
    answered = test[1].max(1) >= line
    assert found.coverage.mean == pytest.approx(0.8, abs=0.01)
    assert found.risk.mean == pytest.approx(
        (1 - test[1].max(1))[answered].mean(), abs=0.01
    )  # calibrated: its confidence is its accuracy
    assert found.risk.mean < found.risks[-1].mean
    assert found.best_area < found.area.mean < found.risks[-1].mean
