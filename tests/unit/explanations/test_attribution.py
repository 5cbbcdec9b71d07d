"""Maps sum to the change of the logit and show the pixels that a network uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from components.explanations.attribution import (
    attribute,
    blur,
    integrate_gradients,
    rank_correlations,
    scale_maps,
    smooth,
    structural_similarities,
)
from components.models.classifier import Classifier, Head
from components.models.encoder import Encoder
from tests.unit.explanations.small_network import SIDE


class Corner(nn.Module):
    """A backbone that uses the upper left quarter alone."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, : SIDE // 2, : SIDE // 2]


def sum_of_corner() -> Classifier:
    head = Head([3], 4, 0.0, 2)
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


def test_pixels_that_the_network_does_not_use_get_no_attribution(images: Tensor) -> None:
    net = sum_of_corner()
    values, _ = integrate_gradients(net, images[:3], torch.tensor([0, 1, 0]), steps=8)
    seen = values[:, :, : SIDE // 2, : SIDE // 2]
    assert seen.abs().sum() > 0
    assert values.count_nonzero() == seen.count_nonzero()  # a sum would depend on its order


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


def test_equal_maps_are_similar_at_any_scale_and_opposite_maps_are_not() -> None:
    maps = smooth(np.random.default_rng(0).normal(size=(2, 32, 32)))
    assert structural_similarities(maps, 7 * maps) == pytest.approx([1, 1], abs=1e-6)
    assert (structural_similarities(maps, -maps) < 0).all()


def test_a_map_is_scaled_by_its_own_largest_magnitudes() -> None:
    maps = np.stack([np.linspace(-4, 2, 100).reshape(10, 10), np.zeros((10, 10))])
    found = scale_maps(maps)
    assert (found[0].min(), found[0].max()) == (-1.0, pytest.approx(0.5, abs=0.02))
    assert not found[1].any()
