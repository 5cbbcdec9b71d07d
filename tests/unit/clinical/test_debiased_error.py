"""Resampled debiased calibration errors against a naive loop."""

from __future__ import annotations

import numpy as np
import pytest

from components.clinical import calibration
from components.clinical.debiased_error import debiased_squared_errors
from components.statistics import bootstrap
from components.statistics.weighting import unit_weights


@pytest.mark.parametrize("bins", [1, 4])
def test_debiased_squared_errors_are_a_naive_loops(bins: int) -> None:
    rng = np.random.default_rng(3)
    labels, p = rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60)
    groups = rng.integers(0, 25, 60)
    claims, happened = calibration.top_class(labels, p)
    places = calibration.equal_mass(claims, bins)
    weights = bootstrap.resample_groups(groups, 3, rng)
    weights = np.hstack([unit_weights(60), weights])
    found = debiased_squared_errors(claims, happened, places, groups, weights)
    for column, weight in enumerate(weights.T):
        total = images = 0.0
        for place in range(places.max() + 1):
            rows = np.flatnonzero(places == place)
            pairs = [(i, j) for i in rows for j in rows if groups[i] != groups[j]]
            ways = sum(weight[i] * weight[j] for i, j in pairs)
            d = happened - claims
            if ways:
                total += weight[rows].sum() * sum(weight[i] * weight[j] * d[i] * d[j] for i, j in pairs) / ways
                images += weight[rows].sum()
        assert found[column] == pytest.approx(total / images, abs=1e-9)
