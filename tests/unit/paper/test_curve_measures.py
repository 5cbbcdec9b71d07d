"""Measures of learning curves, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from components.paper.curve_measures import CONVERGED, epochs_to_converge, relative_fall, share_of_falls


def columns(*curves: list[float]) -> np.ndarray:
    """Curves of E values as (E, C)."""
    return np.array(curves, float).T


def test_a_run_that_learns_exponentially_converges_after_the_logarithm_of_what_is_left() -> None:
    rates = np.array([0.2, 0.5, 1.0])
    curves = 1 / 7 + 0.5 * (1 - np.exp(-rates * np.arange(1, 400)[:, None]))
    expected = np.log(1 / (1 - CONVERGED)) / rates
    assert epochs_to_converge(curves, 1 / 7) == pytest.approx(expected, abs=0.12)  # a straight line between epochs


def test_a_straight_rise_converges_at_nine_tenths_of_its_epochs() -> None:
    assert epochs_to_converge(0.2 + 0.06 * np.arange(1, 11)[:, None], 0.2) == pytest.approx(9)


def test_time_is_that_of_the_first_arrival_and_not_the_height() -> None:
    assert epochs_to_converge(columns([0.5, 0.1, 0.5]), 0.0) == pytest.approx(CONVERGED)
    low, high = epochs_to_converge(columns([0.3, 0.35, 0.4], [0.4, 0.5, 0.6]), 0.2)
    assert low == pytest.approx(high)


def test_a_run_that_never_exceeds_chance_has_no_time() -> None:
    never, does = epochs_to_converge(columns([0.2, 0.1, 0.2], [0.2, 0.3, 0.3]), 0.2)
    assert np.isnan(never) and does == pytest.approx(1 + CONVERGED)


def test_the_papers_losses_fall_by_the_papers_percentages() -> None:
    found = relative_fall(columns([0.165, 0.3, 0.110], [0.12, 0.11, 0.10]))
    assert found == pytest.approx([-1 / 3, -1 / 6])


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
    assert share_of_falls(columns(curve)) == pytest.approx(share)


def test_a_curve_that_does_not_move_has_no_steadiness() -> None:
    assert np.isnan(share_of_falls(columns([0.4, 0.4]))).all()
