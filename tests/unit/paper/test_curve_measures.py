"""Measures of learning curves, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from components.paper.curve_measures import CONVERGED, epochs_to_converge, relative_fall, share_of_falls


@pytest.mark.parametrize("rate", [0.2, 0.5, 1.0])
def test_a_run_that_learns_exponentially_converges_after_the_logarithm_of_what_is_left(rate: float) -> None:
    epochs = np.arange(1, 400)
    curve = 1 / 7 + 0.5 * (1 - np.exp(-rate * epochs))
    expected = np.log(1 / (1 - CONVERGED)) / rate
    assert epochs_to_converge(curve, 1 / 7) == pytest.approx(expected, abs=0.12)  # a straight line between epochs


def test_a_straight_rise_converges_at_nine_tenths_of_its_epochs() -> None:
    assert epochs_to_converge(0.2 + 0.06 * np.arange(1, 11), 0.2) == pytest.approx(9)


def test_time_is_that_of_the_first_arrival_and_not_the_height() -> None:
    assert epochs_to_converge(np.array([0.5, 0.1, 0.5]), 0.0) == pytest.approx(CONVERGED)
    low, high = np.array([0.3, 0.35, 0.4]), np.array([0.4, 0.5, 0.6])
    assert epochs_to_converge(low, 0.2) == pytest.approx(epochs_to_converge(high, 0.2))


def test_a_run_that_never_exceeds_chance_has_no_time() -> None:
    assert np.isnan(epochs_to_converge(np.array([0.2, 0.1, 0.2]), 0.2))


def test_the_papers_losses_fall_by_the_papers_percentages() -> None:
    assert relative_fall(np.array([0.165, 0.3, 0.110])) == pytest.approx(-1 / 3)
    assert relative_fall(np.array([0.12, 0.10])) == pytest.approx(-1 / 6)


@pytest.mark.parametrize(
    ("curve", "share"),
    [
        ([0.1, 0.2, 0.2, 0.5], 0.0),
        ([0.5, 0.3, 0.1], 1.0),
        ([0.2, 0.4, 0.2, 0.4, 0.2], 0.5),
        ([0.0, 0.4, 0.3, 0.6], 0.1 / 0.8),
    ],
)
def test_steadiness_is_falls_by_total_variation(curve: list[float], share: float) -> None:
    assert share_of_falls(np.array(curve)) == pytest.approx(share)


def test_a_curve_that_does_not_move_has_no_steadiness() -> None:
    assert np.isnan(share_of_falls(np.array([0.4, 0.4])))
