"""Colour quantiles: against numpy, gradients, and what they ignore."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from components.pretraining.colour.architecture import FEATURES
from components.pretraining.colour.quantiles import LEVELS, LUMA, colour_channels, edge_strength, quantiles
from tests.unit.pretraining.small_pretraining import SIDE


@pytest.fixture
def images():
    return torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def encoder():
    from components.pretraining.colour import Config

    return Config().backbone.build()


def test_the_quantiles_are_those_of_numpy(images, encoder):
    pixels = images.double().numpy()
    red, green, blue = pixels.transpose(1, 0, 2, 3)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    down, right = np.diff(luma, axis=1)[:, :, :-1], np.diff(luma, axis=2)[:, :-1]
    channels = [red, green, blue, pixels.max(1) - pixels.min(1), luma, np.hypot(down, right)]
    expected = [np.quantile(channel.reshape(3, -1), LEVELS, axis=1).T for channel in channels]
    assert encoder(images).shape == (3, FEATURES)
    np.testing.assert_allclose(encoder(images).numpy(), np.concatenate(expected, axis=1), atol=2e-6)


def test_an_image_of_one_colour_has_its_values_and_no_edges(encoder):
    colour = torch.tensor([0.8, 0.5, 0.3])
    found = encoder(colour.view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)).view(6, len(LEVELS))
    luma = float((colour * torch.tensor(LUMA)).sum())
    for row, value in zip(found, [0.8, 0.5, 0.3, 0.5, luma, 0.0], strict=True):
        torch.testing.assert_close(row, torch.full_like(row, value), atol=2e-6, rtol=0)


def test_turned_images_have_equal_colours_and_shuffled_pixels_other_edges(images, encoder):
    smooth = images.cumsum(2) / SIDE
    colours = FEATURES - len(LEVELS)
    turned = encoder(smooth.rot90(2, (2, 3)))
    torch.testing.assert_close(turned[:, :colours], encoder(smooth)[:, :colours])
    order = torch.randperm(SIDE * SIDE, generator=torch.Generator().manual_seed(0))
    shuffled = encoder(smooth.flatten(2)[:, :, order].view_as(smooth))
    torch.testing.assert_close(shuffled[:, :colours], encoder(smooth)[:, :colours])
    assert (shuffled[:, colours:] > encoder(smooth)[:, colours:]).all()


def test_gradients_are_those_of_finite_differences():
    pixels = torch.rand(1, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def features(values):
        return torch.cat([quantiles(channel, LEVELS) for channel in colour_channels(values)], dim=1)

    assert gradcheck(features, pixels.requires_grad_())


def test_the_gradient_of_a_flat_image_is_finite():
    flat = torch.full((1, 4, 4), 0.5, requires_grad=True)
    edge_strength(flat).sum().backward()
    assert flat.grad.isfinite().all()
