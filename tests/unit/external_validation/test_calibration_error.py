"""Resampled calibration errors against the unweighted ones and a naive loop."""

from __future__ import annotations

import numpy as np
import pytest

from components.clinical import calibration
from components.external_validation.calibration_error import calibration_errors
from components.statistics import bootstrap
from components.statistics.weighting import unit_weights


@pytest.mark.parametrize("bins", [1, 4])
def test_calibration_errors_are_the_debiased_ones_and_a_loops(bins: int) -> None:
    rng = np.random.default_rng(3)
    labels, p = rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60)
    groups = rng.integers(0, 25, 60)
    claims, happened = calibration.top_class(labels, p)
    places = calibration.equal_mass(claims, bins)
    plain = calibration_errors(labels, groups, p, unit_weights(60), bins)[0]
    expected = calibration.debiased_squared_error(claims, happened, places, groups)
    assert plain == pytest.approx(np.sqrt(max(expected, 0)))
    weights = bootstrap.resample_groups(groups, 3, rng)
    found = calibration_errors(labels, groups, p, weights, bins)
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
        assert found[column] == pytest.approx(np.sqrt(max(total / images, 0)), abs=1e-6)
