"""The encoder: normalisation inside, features, effective rank, the hash of its weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from components.base.config import kinds
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
