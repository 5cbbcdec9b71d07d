"""Principal components: against numpy's singular value decomposition, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.base.errors import SettingsError
from components.base.log import SilentLog
from components.models.encoder import embed, read_batches
from components.pretraining.pca import Config
from tests.unit.pretraining.small_pretraining import SESSION, SIDE, draw_encoder


def fit(config, train, val=None):
    encoder, log = draw_encoder(config.backbone), SilentLog()
    config.fit(encoder, backbone=config.backbone, train=train, val=val, session=SESSION, log=log)
    return encoder, log


def standardised(train, side):
    """The images (N, P) as the projection gets them, by numpy alone."""
    images = np.asarray(train.take(np.arange(len(train)))).transpose(0, 3, 1, 2) / 255  # (N, 3, S, S)
    shape = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1), np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    step = SIDE // side
    return ((images - shape[0]) / shape[1]).reshape(-1, 3, side, step, side, step).mean((3, 5)).reshape(len(images), -1)


def test_the_features_are_the_scores_of_a_singular_value_decomposition(train):
    """Up to the sign of each component."""
    encoder, log = fit(Config(components=6, side=16), train)
    pixels = standardised(train, 16)
    left, values, _ = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    features = embed(encoder, read_batches(train.take, np.arange(len(train)))).numpy()
    np.testing.assert_allclose(np.abs(features), np.abs(left * values)[:, :6], atol=2e-3)
    share = (values[:6] ** 2).sum() / (values**2).sum()
    assert f"{100 * share:.1f} % of the variance" in " ".join(log.lines)


def test_components_are_orthonormal_and_are_no_parameters(train):
    encoder, _ = fit(Config(components=6, side=16), train)
    components = encoder.trunk.components
    torch.testing.assert_close(components @ components.T, torch.eye(6), atol=1e-5, rtol=0)
    assert not list(encoder.parameters())


@pytest.mark.parametrize(("components", "side", "most"), [(26, 16, 26), (3, 1, 3)])
def test_as_many_components_as_images_or_pixels_are_refused(train, components, side, most):
    with pytest.raises(SettingsError, match=rf"components = {components}, expected fewer than {most}.*26 train images"):
        fit(Config(components=components, side=side), train)


def test_features_are_equal_inside_an_autocast_block(train):
    encoder, _ = fit(Config(components=6, side=16), train)
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.autocast("cpu", torch.bfloat16):
        inside = encoder(images)
    assert torch.equal(inside, encoder(images))
