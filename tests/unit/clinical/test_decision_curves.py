"""Net benefit against worked examples, closed forms and naive counts."""

from __future__ import annotations

import numpy as np
import pytest

from components.clinical import decision_curves
from components.clinical.operating_points import BinaryTask
from components.statistics.weighting import unit_weights
from tests.unit.clinical.simulation import calibrated, resampled


def test_net_benefit_of_a_worked_example() -> None:
    """100 patients, 20 with cancer; 15 of 35 called are true: at 10 %, 15/100 - 20/100 x 1/9."""
    positive = np.array([True] * 20 + [False] * 80)
    scores = np.concatenate([np.full(15, 0.3), np.full(5, 0.05), np.full(20, 0.3), np.full(60, 0.05)])
    at = np.array([0.1, 0.2])
    found = decision_curves.net_benefit(scores, positive, unit_weights(100), at)[:, 0]
    assert found == pytest.approx([0.15 - 0.2 / 9, 0.15 - 0.2 / 4])
    treat_all = decision_curves.benefit_of_all(positive, unit_weights(100), at)[:, 0]
    assert treat_all == pytest.approx([0.2 - 0.8 / 9, 0.0])  # at the prevalence it is zero


@pytest.mark.parametrize("threshold", [0.05, 0.25, 0.5])
def test_net_benefit_is_a_naive_count_in_every_resample(threshold: float) -> None:
    labels, p = calibrated(120, np.random.default_rng(0))
    sample = resampled(labels, np.arange(120) // 2, resamples=5)
    found = decision_curves.net_benefit(p[:, 0], labels == 0, sample.weights, np.array([threshold]))[0]
    for column in range(6):
        drawn = np.repeat(np.arange(120), sample.weights[:, column].astype(int))
        called, ill = p[drawn, 0] >= threshold, labels[drawn] == 0
        odds = threshold / (1 - threshold)
        assert found[column] == pytest.approx(((called & ill).sum() - odds * (called & ~ill).sum()) / len(drawn))


def test_a_calibrated_model_never_does_worse_than_all_or_nobody() -> None:
    labels, p = calibrated(60_000, np.random.default_rng(1))
    thresholds = np.linspace(0.02, 0.8, 30)
    model = decision_curves.net_benefit(p[:, 0], labels == 0, unit_weights(60_000), thresholds)[:, 0]
    treat_all = decision_curves.benefit_of_all(labels == 0, unit_weights(60_000), thresholds)[:, 0]
    assert (model >= np.maximum(treat_all, 0) - 0.002).all()
    expected = [np.mean((p[:, 0] >= t) * (p[:, 0] - t / (1 - t) * (1 - p[:, 0]))) for t in thresholds]  # in expectation
    np.testing.assert_allclose(model, expected, atol=0.005)


def test_a_decision_curve_has_its_interval_and_its_advantage_over_both() -> None:
    labels, p = calibrated(400, np.random.default_rng(2))
    task = BinaryTask("malignant", p[None, :, 0], labels == 0, np.stack([p[:, 0], p[:, 0]]), labels == 0)
    curve = decision_curves.decision_curve(resampled(labels), task, [0.1, 0.3])
    for model, treat_all, advantage in zip(curve.model, curve.all, curve.over_both, strict=True):
        assert model.low < model.mean < model.high
        assert advantage.mean == pytest.approx(model.mean - max(treat_all, 0))
        assert advantage.low < advantage.mean < advantage.high
