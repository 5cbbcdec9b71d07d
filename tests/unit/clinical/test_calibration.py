"""Calibration errors, Brier's parts and temperatures against scikit-learn, closed forms and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from components.clinical import calibration
from components.clinical.debiased_error import debiased_squared_errors
from components.statistics.intervals import Interval
from components.statistics.metrics.expected_calibration_error import expected_calibration_error
from components.statistics.weighting import unit_weights
from tests.unit.clinical.simulation import calibrated, resampled


def _squared(predicted: np.ndarray, observed: np.ndarray, places: np.ndarray, groups: np.ndarray) -> float:
    return float(debiased_squared_errors(predicted, observed, places, groups, unit_weights(len(predicted)))[0])


def _binary(seed: int, images: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    predicted = rng.beta(1.2, 2, images).round(2)  # rounded: ties
    return predicted, (rng.random(images) < predicted**1.3).astype(float)


@pytest.mark.parametrize("seed", range(3))
def test_error_in_equal_widths_is_the_metric_that_evaluate_reports(seed: int) -> None:
    labels, p = calibrated(300, np.random.default_rng(seed))
    predicted, observed = calibration.top_class(labels, p)
    found = calibration.calibration_error(predicted, observed, calibration.equal_width(predicted, 15))
    assert found == pytest.approx(expected_calibration_error(labels, p, bins=15), abs=1e-12)


@pytest.mark.parametrize(("place", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")])
def test_bins_are_scikit_learns(place: str, strategy: str) -> None:
    rng = np.random.default_rng(1)
    predicted = rng.random(601)
    observed = (rng.random(601) < predicted).astype(float)
    places = getattr(calibration, place)(predicted, 8)
    counts = np.bincount(places)
    shares, means = (np.bincount(places, weights=each) / counts for each in (observed, predicted))
    expected = calibration_curve(observed, predicted, n_bins=8, strategy=strategy)
    np.testing.assert_allclose([shares, means], expected, atol=0.003 if strategy == "quantile" else 1e-12)


def test_bins_of_equal_mass_hold_equally_many_and_never_divide_ties() -> None:
    places = calibration.equal_mass(np.linspace(0.01, 0.99, 600), 12)
    assert np.bincount(places).tolist() == [50] * 12
    tied = np.repeat([0.2, 0.5, 0.9], [500, 10, 90])
    assert [set(calibration.equal_mass(tied, 10)[tied == value]) for value in (0.2, 0.5, 0.9)] == [{0}, {1}, {1}]


def test_debiased_error_with_one_probability_a_bin_is_kumars() -> None:
    rng = np.random.default_rng(0)
    values = np.array([0.1, 0.4, 0.8])
    places = rng.integers(0, 3, 90)
    observed = (rng.random(90) < values[places] * 0.8).astype(float)
    expected = 0.0
    for b in range(3):  # Kumar, Liang & Ma 2019: (predicted - share)^2 - share (1 - share) / (n - 1), weighted by n
        inside = observed[places == b]
        share, n = inside.mean(), len(inside)
        expected += n / 90 * ((values[b] - share) ** 2 - share * (1 - share) / (n - 1))
    found = _squared(values[places], observed, places, np.arange(90))
    assert found == pytest.approx(expected, abs=1e-12)


def test_debiased_error_is_the_mean_over_pairs_of_different_lesions() -> None:
    rng = np.random.default_rng(3)
    predicted, observed, groups = rng.random(40), rng.integers(0, 2, 40).astype(float), rng.integers(0, 15, 40)
    places = calibration.equal_mass(predicted, 3)
    expected = 0.0
    for b in range(3):
        inside = np.flatnonzero(places == b)
        d = (observed - predicted)[inside]
        pairs = [d[i] * d[j] for i in range(len(d)) for j in range(len(d)) if groups[inside[i]] != groups[inside[j]]]
        expected += len(d) / 40 * np.mean(pairs)
    assert _squared(predicted, observed, places, groups) == pytest.approx(expected, abs=1e-12)


def test_of_a_perfectly_calibrated_model_the_debiased_error_is_zero_on_average_and_the_others_are_not() -> None:
    rng = np.random.default_rng(0)
    debiased, plain = [], []
    for _ in range(400):
        predicted, observed = calibration.top_class(*calibrated(250, rng))
        places = calibration.equal_mass(predicted, 15)
        debiased.append(_squared(predicted, observed, places, np.arange(250)))
        plain.append(calibration.calibration_error(predicted, observed, places))
    assert abs(np.mean(debiased)) < 3 * np.std(debiased) / np.sqrt(400)
    assert np.mean(plain) > 0.05  # by chance alone, in 250 images


def test_lesions_of_several_images_debias_only_when_pairs_are_of_different_ones() -> None:
    """Copies of an image repeat its noise: counted as independent, they give an error that does not exist."""
    rng = np.random.default_rng(0)
    by_lesion, by_image = [], []
    for _ in range(300):
        predicted, observed = (np.repeat(each, 4) for each in calibration.top_class(*calibrated(80, rng)))
        places = calibration.equal_mass(predicted, 8)
        by_lesion.append(_squared(predicted, observed, places, np.repeat(np.arange(80), 4)))
        by_image.append(_squared(predicted, observed, places, np.arange(320)))
    assert abs(np.mean(by_lesion)) < 3 * np.std(by_lesion) / np.sqrt(300)
    assert np.mean(by_image) > 0.01


def test_debiased_error_of_a_known_miscalibration_is_that() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0.3, 0.7, 200_000)
    observed = (rng.random(200_000) < predicted - 0.1).astype(float)
    squared = _squared(predicted, observed, calibration.equal_mass(predicted, 15), np.arange(200_000))
    assert np.sqrt(squared) == pytest.approx(0.1, abs=0.005)


def _errors_of_draws(overconfident: float) -> list[dict[str, Interval]]:
    """200 small test sets of two equal seeds; every probability is `overconfident` above the share of right answers."""
    rng, found = np.random.default_rng(1), []
    for _ in range(200):
        share = rng.uniform(0.5, 0.9, 100)
        right = rng.random(100) < share
        answers = [(share + overconfident, right)] * 2
        found.append(calibration.calibration_errors(answers, resampled(np.zeros(100, int), resamples=150), bins=5))
    return found


def test_of_a_perfect_model_the_shown_error_is_zero_on_average_and_its_interval_holds_zero() -> None:
    found = _errors_of_draws(0.0)
    for name in ("squared", "overconfidence"):
        means = np.array([each[name].mean for each in found])
        assert abs(means.mean()) < 3 * means.std() / np.sqrt(len(means))
        assert (means < 0).mean() > 0.3  # nothing is clipped
        assert np.mean([each[name].low <= 0 <= each[name].high for each in found]) >= 0.89


def test_a_model_that_is_eight_points_overconfident_shows_them() -> None:
    found = _errors_of_draws(0.08)
    for name, truth in (("squared", 0.08**2), ("overconfidence", 0.08)):
        means = np.array([each[name].mean for each in found])
        assert abs(means.mean() - truth) < 3 * means.std() / np.sqrt(len(means))
        assert np.mean([each[name].low <= truth <= each[name].high for each in found]) >= 0.89
    assert np.mean([each["overconfidence"].low > 0 for each in found]) > 0.4  # it is seen where it can be


def test_brier_score_is_scikit_learns() -> None:
    labels, p = calibrated(400, np.random.default_rng(2))
    found = calibration.brier(labels, p, unit_weights(400))[0]
    assert found == pytest.approx(brier_score_loss(labels, p, scale_by_half=False, labels=[0, 1, 2]), abs=1e-12)
    two = np.stack([1 - p[:, 0], p[:, 0]], axis=1)
    half = calibration.brier((labels == 0).astype(int), two, unit_weights(400))[0] / 2
    assert half == pytest.approx(brier_score_loss(labels == 0, p[:, 0]), abs=1e-12)


@pytest.mark.parametrize("bins", [1, 4, 15, 400])
def test_briers_parts_add_up_exactly(bins: int) -> None:
    labels, p = calibrated(400, np.random.default_rng(2))
    parts = calibration.brier_parts(labels, p, bins)
    assert parts.brier == pytest.approx(calibration.brier(labels, p, unit_weights(400))[0], abs=1e-12)
    assert min(parts.reliability, parts.resolution) >= 0


def test_briers_parts_are_murphys_where_a_bin_has_one_probability() -> None:
    predicted, observed = _binary(4)
    p = np.stack([1 - predicted, predicted], axis=1)
    parts = calibration.brier_parts(observed.astype(int), p, 100_000)  # every value its own bin
    expected = np.zeros(2)
    for value in np.unique(predicted):  # naive sums (Murphy 1973)
        inside = observed[predicted == value]
        expected += len(inside) / 500 * np.array([(value - inside.mean()) ** 2, (inside.mean() - observed.mean()) ** 2])
    assert [parts.reliability, parts.resolution] == pytest.approx(2 * expected, abs=1e-12)  # both classes are equal
    assert parts.uncertainty == pytest.approx(2 * observed.mean() * (1 - observed.mean()))
    assert parts.within == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found_again(truth: float) -> None:
    labels, p = calibrated(20_000, np.random.default_rng(0))
    assert calibration.fit_temperature(labels, calibration.scale(p, 1 / truth)) == pytest.approx(truth, rel=0.04)


def test_no_temperature_of_a_fine_grid_is_better_on_val() -> None:
    labels, p = calibrated(300, np.random.default_rng(7))
    sharp = calibration.scale(p, 0.4)
    losses = [sklearn_log_loss(labels, calibration.scale(sharp, t)) for t in np.geomspace(0.1, 10, 400)]
    found = calibration.fit_temperature(labels, sharp)
    assert sklearn_log_loss(labels, calibration.scale(sharp, found)) <= min(losses) + 1e-9


def test_scaling_keeps_the_answers_and_undoes_itself() -> None:
    _, p = calibrated(200, np.random.default_rng(1))
    hot = calibration.scale(p, 3.0)
    np.testing.assert_array_equal(hot.argmax(1), p.argmax(1))
    assert (hot.max(1) < p.max(1)).all()
    np.testing.assert_allclose(calibration.scale(hot, 1 / 3), p, atol=1e-12)


def test_scaling_probabilities_is_scaling_logits_however_far_apart_they_are() -> None:
    logits = np.array([[0.0, -100.0, -3.0], [0.0, 5.0, -300.0]])
    p = special.softmax(logits, axis=1)
    for temperature in (0.5, 2.0, 20.0):
        expected = special.softmax(logits / temperature, axis=1)
        np.testing.assert_allclose(calibration.scale(p, temperature), expected, rtol=1e-11)


def test_a_model_that_was_never_wrong_on_val_gets_a_finite_temperature() -> None:
    found = calibration.fit_temperature(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert found == pytest.approx(calibration.TEMPERATURES[0], rel=0.01)


def test_scaling_an_overconfident_model_improves_every_score() -> None:
    rng = np.random.default_rng(0)
    labels, p = calibrated(3000, rng)
    sharp = calibration.scale(p, 0.4)
    sample = resampled(labels, np.arange(3000) // 2, resamples=50)
    temperature = calibration.fit_temperature(labels, sharp)
    none = np.zeros(3, bool)
    free = resampled(np.zeros(3000, int), np.arange(3000) // 2, resamples=50)
    states = [sharp, sharp], [sharp, sharp], [calibration.scale(sharp, temperature)] * 2
    given = np.array([temperature] * 2)
    found = calibration.calibrate(
        sample, free, *states, temperatures=given, classes=("a", "b", "c"), malignant=none, bins=15
    )
    before, after = found.before, found.after
    assert after.log_loss.mean < before.log_loss.mean
    assert after.brier.mean < before.brier.mean
    assert all(after.errors[name].mean < before.errors[name].mean / 2 for name in ("width", "mass", "squared"))
    assert before.parts.resolution == pytest.approx(after.parts.resolution, rel=0.05)
    assert before.parts.brier == pytest.approx(before.brier.mean, abs=1e-12)
    assert before.log_loss.low < before.log_loss.mean < before.log_loss.high
    assert after.malignant == ()


def test_reliability_whiskers_hold_the_diagonal_of_a_calibrated_model() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(25):
        labels, p = calibrated(400, rng)
        points = calibration.reliability([calibration.top_class(labels, p)], resampled(labels))
        assert len(points) == 10
        assert [point.images for point in points] == [40] * 10
        covered += [point.observed.low <= point.predicted <= point.observed.high for point in points]
    assert 0.88 < np.mean(covered) < 0.99  # 250 intervals at 95 %, of 40 images each
