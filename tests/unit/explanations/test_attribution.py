"""Maps add up, find what was planted, and are compared with nets that truly have other weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from components.explanations.attribution import (
    DEPTHS,
    attribute,
    blur,
    cascade,
    draw_anew,
    integrate_gradients,
    rank_correlations,
    settle,
    shown,
    smooth,
    structural_similarities,
)
from components.models.backbones.timm import Config as Timm
from components.models.classifier import Classifier, Head
from components.models.encoder import Encoder, weights_sha256

BACKBONE = Timm(name="test_efficientnet")
SIDE = 32


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Smooth patches with some grain."""
    noise = torch.rand(24, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return 0.7 * blur(noise) + 0.3 * noise


@pytest.fixture(scope="module")
def classifier(images: Tensor) -> Classifier:
    """A net whose statistics belong to the images."""
    net = draw_anew(BACKBONE, Head(1, 8, 0.0, 3), seed=5)
    settle(net, list(net.modules()), images)
    return net.eval()


class Corner(nn.Module):
    """A trunk that sees the upper left quarter alone."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, : SIDE // 2, : SIDE // 2]


def sum_of_corner() -> Classifier:
    head = Head(3, 4, 0.0, 2)
    return Classifier(Encoder(Corner(), feature_dim=3), head).eval()


def test_of_a_linear_model_it_is_weight_times_distance_from_the_baseline(images: Tensor) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2))
    targets = torch.tensor([0, 1, 1])
    values, missing = integrate_gradients(linear, images[:3], targets, steps=2)
    weights = linear[1].weight.detach()[targets].view(3, 3, SIDE, SIDE)
    assert torch.allclose(values, weights * (images[:3] - blur(images[:3])), atol=1e-6)
    assert missing.abs().max() < 1e-4


def test_maps_sum_to_the_change_of_the_logit_and_more_steps_miss_less(classifier: Classifier, images: Tensor) -> None:
    targets = classifier(images[:4]).argmax(1)
    logits = (classifier(images[:4]) - classifier(blur(images[:4])))[torch.arange(4), targets]
    missed = []
    for steps in (4, 128):
        found = attribute(classifier, images[:4], targets, steps)
        assert found.change == pytest.approx(logits.detach().numpy(), abs=1e-5)
        assert found.maps.sum((1, 2)) == pytest.approx(found.change + found.missing, abs=1e-4)
        missed.append(np.abs(found.missing).sum() / np.abs(found.change).sum())
    assert missed[1] < 0.02
    assert missed[1] < missed[0]


def test_what_the_net_cannot_see_has_no_part_in_its_answer(images: Tensor) -> None:
    net = sum_of_corner()
    values, _ = integrate_gradients(net, images[:3], torch.tensor([0, 1, 0]), steps=8)
    seen = values[:, :, : SIDE // 2, : SIDE // 2]
    assert seen.abs().sum() > 0
    assert values.abs().sum() == seen.abs().sum()


def test_weights_are_left_as_they_are_and_gather_no_gradients(classifier: Classifier, images: Tensor) -> None:
    before = weights_sha256(classifier)
    attribute(classifier, images[:2], torch.tensor([0, 1]), 4)
    list(cascade(classifier, draw_anew(BACKBONE, classifier.head, 0), images))
    assert weights_sha256(classifier) == before
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_the_cascade_draws_anew_from_the_head_downwards(classifier: Classifier, images: Tensor) -> None:
    fresh = draw_anew(BACKBONE, classifier.head, 0)
    mine = dict(classifier.named_parameters())
    kept = {}
    for depth, copied in cascade(classifier, fresh, images):
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


def test_a_net_drawn_anew_is_no_arms_random_encoder_and_the_same_for_the_same_seed() -> None:
    head = Head(1, 8, 0.0, 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        arm = BACKBONE.build()
    first, again, other = (draw_anew(BACKBONE, head, seed) for seed in (0, 0, 1))
    assert weights_sha256(first) == weights_sha256(again)
    assert len({weights_sha256(each.encoder) for each in (first, other)} | {weights_sha256(arm)}) == 3


def test_settled_statistics_are_those_of_the_images(images: Tensor) -> None:
    norm = nn.BatchNorm2d(3)
    net = nn.Sequential(norm, nn.Flatten())
    settle(net, [norm], images)
    assert torch.allclose(norm.running_mean, images.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.running_var, images.var((0, 2, 3)), atol=1e-5)
    assert (norm.momentum, norm.training) == (0.1, False)


def test_a_feature_that_no_image_moves_counts_for_nothing() -> None:
    head = Head(2, 4, 0.0, 2)
    settle(head, [head[0]], torch.tensor([[1.0, 7.0], [3.0, 7.0], [5.0, 7.0]]))
    standardised = head[0](torch.tensor([[3.0, 7.001]]))
    assert standardised.tolist() == [[0.0, 0.0]]


def test_smoothing_keeps_the_sum() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 16, 16))
    assert smooth(maps).sum((1, 2)) == pytest.approx(maps.sum((1, 2)))


def test_rank_correlation_is_pearsons_of_the_ranks_and_unknown_without_contrast() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(3, 5, 5)), rng.normal(size=(3, 5, 5))
    second[2] = 0.0
    naive = [
        np.corrcoef(rankdata(a.ravel()), rankdata(b.ravel()))[0, 1] for a, b in zip(first[:2], second[:2], strict=True)
    ]
    found = rank_correlations(first, second)
    assert found[:2] == pytest.approx(naive)
    assert np.isnan(found[2])


def test_like_maps_are_alike_whatever_their_scale_and_opposite_ones_are_not() -> None:
    maps = smooth(np.random.default_rng(0).normal(size=(2, 32, 32)))
    assert structural_similarities(maps, 7 * maps) == pytest.approx([1, 1], abs=1e-6)
    assert (structural_similarities(maps, -maps) < 0).all()


def test_a_map_is_shown_by_its_own_strongest_places() -> None:
    maps = np.stack([np.linspace(-4, 2, 100).reshape(10, 10), np.zeros((10, 10))])
    found = shown(maps)
    assert (found[0].min(), found[0].max()) == (-1.0, pytest.approx(0.5, abs=0.02))
    assert not found[1].any()
