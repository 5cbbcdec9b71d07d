"""The encoder: normalisation inside, features, effective rank, the hash of its weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from components.base.config import kinds
from components.base.errors import SettingsError
from components.models.encoder import (
    INFERENCE_BATCH,
    Encoder,
    effective_rank,
    embed,
    read_batches,
    to_tensor,
    weights_sha256,
)

BACKBONE = kinds("models.backbones")["timm"](name="test_efficientnet")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return BACKBONE.build().eval()


def test_images_are_normalised_inside():
    identity = Encoder(nn.Identity(), feature_dim=3)
    white = torch.ones(1, 3, 4, 4)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(identity(white)[0], expected)


@torch.no_grad()
def test_stage_maps_are_those_of_timm(encoder):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    oracle = encoder.trunk.forward_intermediates((images - encoder.mean) / encoder.std, intermediates_only=True)
    maps = encoder.maps(images)
    for found, expected in zip(
        maps[:-1], oracle[:-1], strict=True
    ):  # the last of timm's is before its last convolution
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(maps[-1], encoder.map(images))


@torch.no_grad()
def test_a_readout_pools_the_maps_that_it_names(encoder):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    chosen, names = copy.deepcopy(encoder), list(encoder.state_dict())
    maps = encoder.maps(images)
    pooled = [each.mean(dim=(2, 3)) for each in maps]
    torch.testing.assert_close(chosen.read("all_stages")(images), torch.cat(pooled, dim=1))
    assert chosen.feature_sizes == tuple(each.shape[1] for each in pooled)
    torch.testing.assert_close(chosen.read(2)(images), pooled[1])
    assert (chosen.feature_dim, encoder.feature_dim) == (pooled[1].shape[1], pooled[-1].shape[1])
    torch.testing.assert_close(chosen.read("last_map")(images), encoder(images))
    assert list(chosen.state_dict()) == names
    with pytest.raises(SettingsError, match=rf"features = 9: expected a stage from 1 to {len(maps)} of this backbone"):
        chosen.read(9)


@torch.no_grad()
def test_a_copy_keeps_its_own_maps(encoder):
    """As a moving average of the weights is one."""
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first = copy.deepcopy(encoder).read("all_stages")
    second = copy.deepcopy(first)
    for weight in second.parameters():
        weight.mul_(0.5)
    before = first(images)
    assert not torch.allclose(second(images), before)
    torch.testing.assert_close(first(images), before)


def test_a_network_without_stages_has_one_map():
    encoder = Encoder(nn.Identity(), feature_dim=3)
    for readout in ("all_stages", 1, 5):
        assert encoder.read(readout).feature_sizes == (3,)
        assert encoder(torch.ones(1, 3, 4, 4)).shape == (1, 3)


def test_the_hash_covers_every_tensor(encoder):
    changed = copy.deepcopy(encoder)
    assert weights_sha256(changed) == weights_sha256(encoder)
    with torch.no_grad():
        list(changed.parameters())[-1][0] += 1
    assert weights_sha256(changed) != weights_sha256(encoder)


def test_embedding_does_not_depend_on_the_batches(encoder):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    together = embed(encoder, [to_tensor(pixels)])
    apart = embed(encoder, [to_tensor(pixels[:2]), to_tensor(pixels[2:])])
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(together, encoder(to_tensor(pixels).float() / 255))


def test_effective_rank_counts_equal_directions():
    basis = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0)))[0]
    basis = basis - basis.mean(dim=0)
    three = torch.linalg.qr(basis[:, :3])[0] @ torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    equal = torch.linalg.svd(three, full_matrices=False)[0] @ torch.eye(3, 8)  # three equal singular values
    assert effective_rank(equal) == pytest.approx(3, abs=1e-4)
    assert effective_rank(equal.T) <= 3
    assert effective_rank(torch.outer(torch.arange(5.0), torch.ones(4))) == pytest.approx(1, abs=1e-4)


def test_batches_hold_the_images_at_the_rows_in_their_order():
    pixels = np.random.default_rng(0).integers(0, 256, (INFERENCE_BATCH + 9, 4, 4, 3), dtype=np.uint8)
    rows = np.random.default_rng(1).permutation(len(pixels))
    batches = list(read_batches(pixels.__getitem__, rows))
    assert [len(batch) for batch in batches] == [INFERENCE_BATCH, 9]
    assert torch.equal(torch.cat(batches), torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2))
    assert not list(read_batches(pixels.__getitem__, rows[:0]))
