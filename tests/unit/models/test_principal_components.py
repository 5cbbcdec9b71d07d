"""Principal components against numpy's singular value decomposition, shares of variance against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

from components.models import principal_components
from components.models.principal_components import ExplainedVariance, draw_rows, fit_components, largest_share


def draws(count: int, size: int) -> np.ndarray:
    scales = np.arange(1, size + 1, dtype=np.float32)
    return np.random.default_rng(0).standard_normal((count, size)).astype(np.float32) * scales


def test_more_images_than_pixels_give_the_components_of_a_singular_value_decomposition():
    """As with a real data set: the solver then returns its rows as a reversed view."""
    pixels = draws(40, 12)
    found = fit_components(pixels, 3)
    _, values, rows = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.directions), np.abs(rows[:3]), atol=1e-4)
    np.testing.assert_allclose(found.variances, values[:3] ** 2 / 39, rtol=1e-4)
    assert found.share == pytest.approx((values[:3] ** 2).sum() / (values**2).sum(), rel=1e-4)
    assert np.array_equal(found.directions, fit_components(pixels, 3).directions)


@pytest.mark.parametrize(("count", "size"), [(40, 12), (9, 30)])
def test_the_largest_share_is_that_of_scikit_learn(count, size):
    pixels = draws(count, size)
    expected = PCA(4, svd_solver="full").fit(pixels.astype(np.float64)).explained_variance_ratio_.sum()
    assert largest_share(torch.from_numpy(pixels), 4) == pytest.approx(expected, rel=1e-6)
    assert largest_share(torch.from_numpy(pixels), 100) == pytest.approx(1)


def explained_share(values: torch.Tensor, predicted: torch.Tensor) -> float:
    """In two batches of unequal size."""
    found = ExplainedVariance()
    for part in (slice(0, 7), slice(7, None)):
        found.add(values[part], predicted[part])
    return found.share


def test_the_explained_share_is_the_coefficient_of_determination_weighted_by_variance():
    values, predicted = draws(20, 5), draws(20, 5) + 0.3 * draws(20, 5)[::-1]
    expected = r2_score(values, predicted, multioutput="variance_weighted")
    found = explained_share(torch.from_numpy(values), torch.from_numpy(predicted.copy()))
    assert found == pytest.approx(expected, rel=1e-6)
    mean = torch.from_numpy(values).mean(dim=0).expand(20, 5)
    assert explained_share(torch.from_numpy(values), mean) == pytest.approx(0, abs=1e-6)


def test_no_code_explains_more_than_the_images_own_components():
    pixels = draws(30, 8)
    other = PCA(3).fit(draws(30, 8)[:15])
    share = explained_share(
        torch.from_numpy(pixels), torch.from_numpy(other.inverse_transform(other.transform(pixels)))
    )
    assert share < largest_share(torch.from_numpy(pixels), 3)


def test_of_more_images_a_drawn_part_is_used(monkeypatch):
    monkeypatch.setattr(principal_components, "MOST_IMAGES", 10)
    rows = draw_rows(26, seed=0)
    assert len(set(rows.tolist())) == 10 and (np.diff(rows) > 0).all() and rows.max() < 26
    assert (draw_rows(26, seed=0) == rows).all()
    assert (draw_rows(10, seed=0) == np.arange(10)).all()
