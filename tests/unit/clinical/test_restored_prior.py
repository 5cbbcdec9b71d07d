"""A classifier that learned equally frequent classes, of known truth: its risks before and after restoring."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from components.clinical.calibration_line import calibration_line
from components.clinical.decision_curves import net_benefit
from components.statistics.metrics.log_loss import log_loss
from components.statistics.prior import Priors, training_prior
from components.statistics.weighting import unit_weights

MALIGNANT_SHARE = 0.2
IMAGES = 20_000


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (N,), probabilities as trained and restored (N, 2); the evidence is one normal distribution a class."""
    rng = np.random.default_rng(0)
    labels = (rng.random(IMAGES) < MALIGNANT_SHARE).astype(int)
    evidence = labels + rng.normal(size=IMAGES) - 0.5  # the log of the likelihoods' ratio
    trained = special.expit(evidence)
    p = np.stack([1 - trained, trained], axis=1)
    frequencies = np.array([1 - MALIGNANT_SHARE, MALIGNANT_SHARE])
    return labels, p, Priors(training_prior("weights", frequencies), frequencies).restore(p)


def test_before_the_risk_is_too_high_by_the_log_odds_of_the_frequencies_and_after_it_is_right(
    images: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, *states = images
    shift = special.logit(MALIGNANT_SHARE) - special.logit(0.5)
    for p, intercept in zip(states, (shift, 0.0), strict=True):
        found = calibration_line(p[:, 1], labels == 1, unit_weights(IMAGES))
        assert found[0][0] == pytest.approx(intercept, abs=0.06)
    assert states[0][:, 1].mean() > 1.8 * MALIGNANT_SHARE
    assert states[1][:, 1].mean() == pytest.approx(labels.mean(), abs=0.006)
    assert log_loss(labels, states[1]) < log_loss(labels, states[0]) - 0.1


def test_acting_at_one_half_harms_before_and_helps_after(images: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, *states = images
    before, after = (net_benefit(p[:, 1], labels == 1, unit_weights(IMAGES), np.array([0.5]))[0, 0] for p in states)
    hit, alarm = special.ndtr(0.5), special.ndtr(-0.5)
    assert before == pytest.approx(MALIGNANT_SHARE * hit - (1 - MALIGNANT_SHARE) * alarm, abs=0.01)
    assert before < -0.08
    assert after > 0


def test_balanced_decisions_keep_the_probabilities_as_trained(
    images: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, trained, restored = images
    balanced = [np.mean([(p.argmax(1) == labels)[labels == k].mean() for k in (0, 1)]) for p in (trained, restored)]
    assert balanced[0] == pytest.approx(special.ndtr(0.5), abs=0.01)
    assert balanced[1] < balanced[0] - 0.1
