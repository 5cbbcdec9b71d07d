"""Copies have other weights from the head downwards, and statistics of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from components.explanations.attribution import attribute
from components.explanations.map_check import DEPTHS
from components.explanations.weight_randomisation import (
    build_random_classifier,
    randomise_cascading,
    reset_batch_norm,
)
from components.models.classifier import Classifier, Head
from components.models.encoder import weights_sha256
from tests.unit.explanations.small_network import BACKBONE


def test_weights_are_not_changed_and_get_no_gradients(classifier: Classifier, images: Tensor) -> None:
    before = weights_sha256(classifier)
    attribute(classifier, images[:2], torch.tensor([0, 1]), 4)
    list(randomise_cascading(classifier, build_random_classifier(BACKBONE, classifier, 0), images))
    assert weights_sha256(classifier) == before
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_weights_are_randomised_from_the_head_downwards(classifier: Classifier, images: Tensor) -> None:
    fresh = build_random_classifier(BACKBONE, classifier, 0)
    mine = dict(classifier.named_parameters())
    kept = {}
    for depth, copied in randomise_cascading(classifier, fresh, images):
        moving = [(name, tensor) for name, tensor in copied.named_parameters() if tensor.std() > 0]
        kept[depth] = [name for name, tensor in moving if torch.equal(tensor, mine[name])]
        assert not any(name.startswith("head.") for name in kept[depth]), depth
        assert torch.isfinite(copied(images)).all()
    assert tuple(kept) == DEPTHS
    encoder = [name for name, tensor in classifier.encoder.named_parameters(prefix="encoder") if tensor.std() > 0]
    assert kept["head"] == encoder
    assert kept["upper half"] == encoder[: len(kept["upper half"])]
    assert 0 < len(kept["upper half"]) < len(encoder)
    assert kept["everything"] == []


def test_random_weights_are_not_those_of_an_arm_and_the_same_for_the_same_seed() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        arm = BACKBONE.build()
    shape = Classifier(arm, Head(arm.feature_sizes, 8, 0.0, 3))
    first, again, other = (build_random_classifier(BACKBONE, shape, seed) for seed in (0, 0, 1))
    assert weights_sha256(first) == weights_sha256(again)
    assert len({weights_sha256(each.encoder) for each in (first, other)} | {weights_sha256(arm)}) == 3


def test_reset_statistics_are_those_of_the_images(images: Tensor) -> None:
    norm = nn.BatchNorm2d(3)
    net = nn.Sequential(norm, nn.Flatten())
    reset_batch_norm(net, [norm], images)
    assert torch.allclose(norm.running_mean, images.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.running_var, images.var((0, 2, 3)), atol=1e-5)
    assert (norm.momentum, norm.training) == (0.1, False)


def test_a_feature_that_is_constant_over_the_images_becomes_zero() -> None:
    head = Head([2], 4, 0.0, 2)
    reset_batch_norm(head, list(head[0].modules()), torch.tensor([[1.0, 7.0], [3.0, 7.0], [5.0, 7.0]]))
    standardised = head[0](torch.tensor([[3.0, 7.001]]))
    assert standardised[0, 0].item() == pytest.approx(0, abs=1e-6)
    assert standardised[0, 1].item() == 0
