"""Pooled features of chosen maps, standardised over a batch, with BatchNorm's statistics free or frozen."""

from __future__ import annotations

import pytest
import torch

from components.base.config import kinds
from components.models.standardised_features import StandardisedFeatures


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return kinds("models.backbones")["timm"](name="test_efficientnet").build()


@pytest.fixture
def images():
    return torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("reads", ["last_map", "all_stages"])
def test_pooled_features_are_those_of_the_encoder_and_the_last_maps_come_last(encoder, images, reads):
    features = StandardisedFeatures(encoder, reads).eval()
    pooled = features.pooled(images)
    assert pooled.shape == (12, features.size)
    torch.testing.assert_close(pooled[:, -encoder.last_dim :], encoder.read("last_map")(images))
    torch.testing.assert_close(pooled, encoder.read(reads)(images))


def test_what_the_encoder_reads_stays(encoder):
    StandardisedFeatures(encoder, "all_stages")
    assert encoder.readout == "last_map" and encoder.feature_dim == encoder.last_dim


def test_features_of_a_batch_have_mean_0_and_variance_1(encoder, images):
    found = StandardisedFeatures(encoder, "all_stages").train()(images).detach()
    lively = found.std(dim=0, correction=0) > 0.5  # a feature that is silent in this batch stays near 0
    assert lively.float().mean() > 0.9
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(found.shape[1]), atol=1e-4, rtol=0)
    assert float(found[:, lively].std(dim=0, correction=0).median()) == pytest.approx(1, abs=0.01)


def statistics(encoder):
    return {name: value.clone() for name, value in encoder.named_buffers() if "running" in name}


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_statistics_stay_while_weights_get_gradients(encoder, images, frozen):
    before = statistics(encoder)
    features = StandardisedFeatures(encoder, "all_stages", frozen_norm=frozen).eval().train()
    features(images).square().sum().backward()
    after = statistics(encoder)
    assert all(torch.equal(before[name], after[name]) for name in before) is frozen
    assert features.training and features.standardise.training  # the head's own standardisation follows the batch
    assert all(weight.grad is not None for weight in encoder.parameters())


def test_a_rare_feature_has_the_same_limit_in_training_and_in_evaluation(encoder, images):
    features = StandardisedFeatures(encoder, "last_map").eval()
    with torch.no_grad():
        plain = features.standardise(features.pooled(images))
        features.standardise.running_mean[:] = 100  # far from every image's, in units of the smallest deviation
        found = features(images)
    assert float(plain.abs().max()) < 5 and float(found.abs().max()) == 5
