"""Net benefit and triage against worked examples, closed forms and naive decisions."""

from __future__ import annotations

import numpy as np
import pytest

from components.clinical import decision_curves
from components.clinical.operating_points import Question
from components.statistics.weighting import unit_weights
from tests.unit.clinical.simulation import CLASSES, COSTS, SEVERITY, calibrated, resampled


def test_net_benefit_of_a_worked_example() -> None:
    """100 patients, 20 with cancer; 15 of 35 called are true: at 10 %, 15/100 - 20/100 x 1/9."""
    positive = np.array([True] * 20 + [False] * 80)
    scores = np.concatenate([np.full(15, 0.3), np.full(5, 0.05), np.full(20, 0.3), np.full(60, 0.05)])
    at = np.array([0.1, 0.2])
    found = decision_curves.net_benefit(scores, positive, unit_weights(100), at)[:, 0]
    assert found == pytest.approx([0.15 - 0.2 / 9, 0.15 - 0.2 / 4])
    everybody = decision_curves.benefit_of_all(positive, unit_weights(100), at)[:, 0]
    assert everybody == pytest.approx([0.2 - 0.8 / 9, 0.0])  # at the prevalence it is worth nothing


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
    everybody = decision_curves.benefit_of_all(labels == 0, unit_weights(60_000), thresholds)[:, 0]
    assert (model >= np.maximum(everybody, 0) - 0.002).all()
    expected = [np.mean((p[:, 0] >= t) * (p[:, 0] - t / (1 - t) * (1 - p[:, 0]))) for t in thresholds]  # in expectation
    np.testing.assert_allclose(model, expected, atol=0.005)


def test_a_decision_curve_has_its_interval_and_its_lead_over_both() -> None:
    labels, p = calibrated(400, np.random.default_rng(2))
    question = Question("malignant", p[None, :, 0], labels == 0, np.stack([p[:, 0], p[:, 0]]), labels == 0)
    curve = decision_curves.decision_curve(resampled(labels), question, [0.1, 0.3])
    for model, everybody, lead in zip(curve.model, curve.all, curve.over_both, strict=True):
        assert model.low < model.mean < model.high
        assert lead.mean == pytest.approx(model.mean - max(everybody, 0))
        assert lead.low < lead.mean < lead.high


def test_classes_go_to_their_levels() -> None:
    levels = decision_curves.level_of_classes(CLASSES, SEVERITY)
    assert dict(zip(CLASSES, levels.tolist(), strict=True)) == {
        "akiec": 1, "bcc": 1, "bkl": 0, "df": 0, "mel": 2, "nv": 0, "vasc": 0,
    }  # fmt: skip
    p = np.array([[0.1, 0.2, 0.05, 0.05, 0.3, 0.25, 0.05]])
    np.testing.assert_allclose(decision_curves.level_probabilities(p, levels), [[0.4, 0.3, 0.3]])


def test_the_least_expected_cost_decides_and_ties_go_to_the_severer_level() -> None:
    costs = np.array(COSTS)
    p = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    naive = [min(range(3), key=lambda d: (sum(row[level] * COSTS[level][d] for level in range(3)), -d)) for row in p]
    assert decision_curves.least_cost(p, costs).tolist() == naive
    assert decision_curves.least_cost(np.array([[0.5, 0.5]]), np.array([[0.0, 1.0], [1.0, 0.0]])).tolist() == [1]


def test_a_twentyfold_cost_moves_the_line_to_one_in_twenty_one() -> None:
    """Two levels: act when p x 20 > (1 - p) x 1."""
    p = np.array([1 / 21 - 0.001, 1 / 21 + 0.001])
    decided = decision_curves.least_cost(np.stack([1 - p, p], axis=1), np.array([[0.0, 1.0], [20.0, 0.0]]))
    assert decided.tolist() == [0, 1]


def test_triage_counts_what_is_decided_too_low_and_too_high() -> None:
    severity = {"routine": ("a",), "soon": ("b",), "urgent": ("c",)}
    labels, p = calibrated(500, np.random.default_rng(3))
    sample = resampled(labels)
    found = decision_curves.triage(sample, [p], ("a", "b", "c"), severity, np.array(COSTS))
    decided = decision_curves.least_cost(p, np.array(COSTS))
    assert np.sum(found.confusion) == 500
    assert found.under.mean == pytest.approx((decided < labels)[labels > 0].mean())
    assert found.over.mean == pytest.approx((decided > labels)[labels < 2].mean())
    assert found.missed.mean == pytest.approx(found.confusion[2][0] / (labels == 2).sum())
    assert found.cost.mean == pytest.approx(np.sum(np.array(found.confusion) * COSTS) / 500)
    assert found.cost_of_constants["soon"] == pytest.approx(((labels == 0) + 5 * (labels == 2)).mean())
    assert found.under.low <= found.under.mean <= found.under.high


def test_of_calibrated_probabilities_the_least_expected_cost_is_the_cheapest() -> None:
    severity = {"routine": ("a",), "soon": ("b",), "urgent": ("c",)}
    labels, p = calibrated(20_000, np.random.default_rng(4))
    sample = resampled(labels, np.arange(20_000) // 100, resamples=20)
    found = decision_curves.triage(sample, [p], ("a", "b", "c"), severity, np.array(COSTS))
    assert found.cost.mean < found.cost_of_likeliest.mean
    assert found.cost.mean < min(found.cost_of_constants.values())
