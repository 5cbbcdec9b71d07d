"""A first convolution that undoes one normalisation of images and applies another."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from components.base.errors import WeightsError
from components.models.backbone import Normalisation
from components.models.encoder import Encoder, weights_sha256
from components.models.normalisation import adopt_normalisation
from tests.unit.pretraining.small_pretraining import draw_encoder


@pytest.mark.parametrize("bias", [True, False])
def test_a_normalisation_is_adopted_exactly_where_nothing_is_padded(bias):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5)).eval()
    trunk[1].running_mean += torch.randn(5)
    images, original = torch.rand(2, 3, 8, 8), copy.deepcopy(trunk)
    mean, std = (0.5, 0.4, 0.3), (0.5, 0.6, 0.7)
    encoder = Encoder(trunk, feature_dim=5).eval()
    adopt_normalisation(encoder, Normalisation(mean, std))
    expected = original((images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
    torch.testing.assert_close(encoder.map(images), expected, atol=1e-5, rtol=1e-5)


def test_imagenets_own_normalisation_changes_nothing():
    encoder = draw_encoder()
    before = weights_sha256(encoder)
    adopt_normalisation(encoder, Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert weights_sha256(encoder) == before


def test_a_network_without_a_first_convolution_is_refused():
    with pytest.raises(WeightsError, match="could adopt another normalisation"):
        adopt_normalisation(Encoder(nn.Identity(), feature_dim=3), Normalisation((0, 0, 0), (1, 1, 1)))
