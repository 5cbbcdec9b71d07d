"""Triage against naive decisions and worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from components.clinical import triage
from tests.unit.clinical.simulation import CLASSES, COSTS, SEVERITY, calibrated, resampled


def test_classes_go_to_their_levels() -> None:
    levels = triage.level_of_classes(CLASSES, SEVERITY)
    assert dict(zip(CLASSES, levels.tolist(), strict=True)) == {
        "akiec": 1, "bcc": 1, "bkl": 0, "df": 0, "mel": 2, "nv": 0, "vasc": 0,
    }  # fmt: skip
    p = np.array([[0.1, 0.2, 0.05, 0.05, 0.3, 0.25, 0.05]])
    np.testing.assert_allclose(triage.level_probabilities(p, levels), [[0.4, 0.3, 0.3]])


def test_the_least_expected_cost_decides_and_ties_go_to_the_severer_level() -> None:
    costs = np.array(COSTS)
    p = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    naive = [min(range(3), key=lambda d: (sum(row[level] * COSTS[level][d] for level in range(3)), -d)) for row in p]
    assert triage.least_cost(p, costs).tolist() == naive
    assert triage.least_cost(np.array([[0.5, 0.5]]), np.array([[0.0, 1.0], [1.0, 0.0]])).tolist() == [1]


def test_a_twentyfold_cost_moves_the_threshold_to_one_in_twenty_one() -> None:
    """Two levels: act when p x 20 > (1 - p) x 1."""
    p = np.array([1 / 21 - 0.001, 1 / 21 + 0.001])
    decided = triage.least_cost(np.stack([1 - p, p], axis=1), np.array([[0.0, 1.0], [20.0, 0.0]]))
    assert decided.tolist() == [0, 1]


def test_triage_counts_what_is_decided_too_low_and_too_high() -> None:
    severity = {"routine": ("a",), "soon": ("b",), "urgent": ("c",)}
    labels, p = calibrated(500, np.random.default_rng(3))
    sample = resampled(labels)
    found = triage.triage(sample, [p], classes=("a", "b", "c"), severity=severity, costs=np.array(COSTS))
    decided = triage.least_cost(p, np.array(COSTS))
    assert np.sum(found.confusion) == 500
    assert found.under.mean == pytest.approx((decided < labels)[labels > 0].mean())
    assert found.over.mean == pytest.approx((decided > labels)[labels < 2].mean())
    assert found.missed.mean == pytest.approx(found.confusion[2][0] / (labels == 2).sum())
    assert found.cost.mean == pytest.approx(np.sum(np.array(found.confusion) * COSTS) / 500)
    assert found.cost_of_constants["soon"] == pytest.approx(((labels == 0) + 5 * (labels == 2)).mean())
    assert found.under.low <= found.under.mean <= found.under.high


def test_triage_says_of_how_many_images_its_shares_are_and_what_it_never_decides() -> None:
    severity = {"routine": ("a",), "soon": ("b",), "urgent": ("c",)}
    labels, p = calibrated(300, np.random.default_rng(3))
    costs = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 1.0], [20.0, 5.0, 0.0]])  # routine is never cheaper
    found = triage.triage(resampled(labels), [p], classes=("a", "b", "c"), severity=severity, costs=costs)
    assert found.images == {"under": (labels > 0).sum(), "over": (labels < 2).sum(), "missed": (labels == 2).sum()}
    assert found.never == ("routine",)
    assert (found.missed.mean, found.missed.low) == (0, 0)
    exact = binomtest(0, int((labels == 2).sum())).proportion_ci(0.95, method="exact")
    assert found.missed.high == pytest.approx(exact.high)


def test_of_calibrated_probabilities_the_least_expected_cost_is_the_cheapest() -> None:
    severity = {"routine": ("a",), "soon": ("b",), "urgent": ("c",)}
    labels, p = calibrated(20_000, np.random.default_rng(4))
    sample = resampled(labels, np.arange(20_000) // 100, resamples=20)
    found = triage.triage(sample, [p], classes=("a", "b", "c"), severity=severity, costs=np.array(COSTS))
    assert found.cost.mean < found.cost_of_likeliest.mean
    assert found.cost.mean < min(found.cost_of_constants.values())
