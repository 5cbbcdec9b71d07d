"""Variables of the likelihood against scikit-learn, the optimal noise against its closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.distributions import Normal

from components.models.principal_components import fit_components, read_shrunk
from components.pretraining.vae.likelihood import LEAST_VARIANCE, PixelVariable, WhitenedComponents, optimal_variance
from components.pretraining.vae.model import gaussian_nll

SIDE, COUNT = 8, 5


@pytest.fixture
def shrunk(train):
    return read_shrunk(train.take, np.arange(len(train)), SIDE)


@pytest.fixture
def images(train):
    return torch.from_numpy(np.asarray(train.take(np.arange(len(train))))).permute(0, 3, 1, 2).float() / 255


def test_whitened_coordinates_are_those_of_scikit_learn_up_to_their_sign(shrunk, images):
    variable = WhitenedComponents(fit_components(shrunk, COUNT), SIDE, floor=0.0)
    expected = PCA(COUNT, whiten=True, svd_solver="full").fit_transform(shrunk.astype(np.float64))
    found = variable(images).numpy()
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=5e-3)
    np.testing.assert_allclose(found.var(axis=0, ddof=1), 1, rtol=1e-3)


def test_a_floor_leaves_components_of_little_variance_small(shrunk, images):
    found = fit_components(shrunk, COUNT)
    variances = WhitenedComponents(found, SIDE, floor=0.1)(images).var(dim=0).numpy()
    np.testing.assert_allclose(variances, found.variances / (found.variances + 0.1 * found.variances[0]), rtol=1e-3)


def test_coordinates_give_the_projection_of_the_image_back(shrunk, images):
    found = fit_components(shrunk, COUNT)
    variable = WhitenedComponents(found, SIDE, floor=0.01)
    pca = PCA(COUNT, svd_solver="full").fit(shrunk.astype(np.float64))
    expected = pca.inverse_transform(pca.transform(shrunk)).clip(0, 1)
    drawn = variable.to_images(variable(images))
    assert drawn.shape == (len(images), 3, SIDE, SIDE)
    np.testing.assert_allclose(drawn.flatten(1).numpy(), expected, atol=1e-3)


def test_coordinates_are_equal_inside_an_autocast_block(shrunk, images):
    variable = WhitenedComponents(fit_components(shrunk, COUNT), SIDE, floor=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        inside = variable(images)
    assert torch.equal(inside, variable(images))


def test_pixels_are_their_own_variable(images):
    variable = PixelVariable()
    assert variable(images) is images and variable.to_images(images) is images


def test_the_optimal_variance_makes_the_likelihood_largest():
    values, expected = torch.randn(40, 7, dtype=torch.float64), torch.zeros(40, 7, dtype=torch.float64)
    best = optimal_variance(values, expected)
    assert float(best) == pytest.approx(float(values.square().mean()))
    least = gaussian_nll(values, expected, best).mean()
    assert float(least) == pytest.approx(3.5 * (1 + math.log(2 * math.pi * float(best))))  # N/2 (1 + log 2 pi MSE)
    torch.testing.assert_close(-Normal(expected, best.sqrt()).log_prob(values).sum(1).mean(), least)
    assert all(gaussian_nll(values, expected, best * factor).mean() > least for factor in (0.9, 1.1))


def test_the_gradient_is_that_of_the_logarithm_of_the_mean_squared_error():
    values, expected = torch.randn(6, 4), torch.randn(6, 4, requires_grad=True)
    (found,) = torch.autograd.grad(gaussian_nll(values, expected, optimal_variance(values, expected)).mean(), expected)
    (closed,) = torch.autograd.grad(2 * (values - expected).square().mean().log(), expected)  # N/2 with N = 4
    torch.testing.assert_close(found, closed)


def test_a_perfect_reconstruction_has_a_finite_density():
    values = torch.ones(2, 3)
    assert float(optimal_variance(values, values)) == pytest.approx(LEAST_VARIANCE)
