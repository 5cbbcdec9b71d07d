"""Images and a small classifier for tests of maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from components.explanations.attribution import blur
from components.explanations.weight_randomisation import build_random_classifier, reset_batch_norm
from components.models.classifier import Classifier, Head
from tests.unit.explanations.small_network import BACKBONE, SIDE


@pytest.fixture(scope="session")
def images() -> Tensor:
    """Smooth patches with some grain."""
    noise = torch.rand(24, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return 0.7 * blur(noise) + 0.3 * noise


@pytest.fixture(scope="session")
def classifier(images: Tensor) -> Classifier:
    """A net whose statistics belong to the images."""
    encoder = BACKBONE.build()
    net = build_random_classifier(BACKBONE, Classifier(encoder, Head(encoder.feature_sizes, 8, 0.0, 3)), seed=5)
    reset_batch_norm(net, list(net.modules()), images)
    return net.eval()
