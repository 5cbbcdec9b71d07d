"""The distance from the train images, against scikit-learn's covariance, and the share of val images beside it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from components.deployment.outliers import OutlierReference


def draw(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(4, 12))
    return (rng.normal(size=(count, 4)) @ mixing + 0.3 * rng.normal(size=(count, 12)) + 5).astype(np.float32)


@pytest.fixture(scope="module")
def reference() -> OutlierReference:
    return OutlierReference.fit(draw(400, 0), draw(99, 1), components=4)


def test_the_distance_is_that_of_mahalanobis_under_scikit_learns_covariance(reference: OutlierReference) -> None:
    images = draw(30, 2).astype(np.float64)
    pca = PCA(4).fit(draw(400, 0).astype(np.float64))
    centred = images - pca.mean_
    expected = np.einsum("nd,de,ne->n", centred, np.linalg.inv(pca.get_covariance()), centred)
    np.testing.assert_allclose(reference.distances(images), expected, rtol=1e-6)


def test_the_p_value_counts_val_images_that_are_as_far(reference: OutlierReference) -> None:
    val = reference.distances(draw(99, 1))
    asked = reference.distances(draw(20, 3))
    expected = [(1 + sum(other >= distance for other in val)) / 100 for distance in asked]
    np.testing.assert_allclose(reference.p_values(asked), expected)
    assert reference.p_values(np.array([np.inf]))[0] == 0.01
    assert reference.p_values(np.array([0.0]))[0] == 1.0


def test_images_like_val_are_called_unlike_as_seldom_as_the_limit_says(reference: OutlierReference) -> None:
    """Over many draws of val: the guarantee is on average over them."""
    found = [OutlierReference.fit(draw(200, 10 * turn), draw(99, 10 * turn + 1), 4) for turn in range(1, 21)]
    called = np.mean([np.mean(each.p_values(each.distances(draw(200, 7 + turn))) <= 0.05)
                      for turn, each in enumerate(found)])  # fmt: skip
    assert 0.03 < called < 0.07


def test_images_off_the_train_images_plane_are_far(reference: OutlierReference) -> None:
    noise = 5 + 3 * np.random.default_rng(4).normal(size=(20, 12))
    assert reference.p_values(reference.distances(noise)).max() == 0.01


def test_arrays_give_the_same_reference_again(reference: OutlierReference) -> None:
    again = OutlierReference.from_arrays(reference.as_arrays())
    np.testing.assert_array_equal(again.distances(draw(9, 5)), reference.distances(draw(9, 5)))


def test_few_images_and_silent_features_give_finite_distances() -> None:
    train = np.zeros((5, 8), np.float32)
    train[:, 0] = [1, 2, 3, 4, 5]
    found = OutlierReference.fit(train, train[:3], components=64)
    assert np.isfinite(found.distances(train)).all()
