"""The sign of a training that was still improving at its end."""

from __future__ import annotations

import pytest

from components.training.pretraining.convergence import find_unfinished


@pytest.mark.parametrize(
    "values", [(-200.0, -120.0, -102.0, -100.0), (-200.0, -100.0, -101.0), (0.0, 0.96, 1.0), (0.3, 0.3)]
)
def test_a_settled_curve_has_no_alarm(values):
    assert find_unfinished(values, "rise") == []


def test_the_alarm_states_the_share_of_the_last_epoch():
    (alarm,) = find_unfinished((-200.0, -120.0, -100.0), "rise of the ELBO on val")
    expected = "not converged: the last of 3 epochs still added 20% of the whole rise of the ELBO on val"
    assert alarm == f"{expected} (expected 5% or less)"


def test_one_epoch_shows_no_end():
    (alarm,) = find_unfinished((-200.0,), "rise of the ELBO on val")
    assert alarm == "not converged: one epoch alone does not show the end of the rise of the ELBO on val"
