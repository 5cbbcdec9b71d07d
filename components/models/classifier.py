"""A backbone with the identical head, its losses, and what is measured of it.

B batch, N images, D features, K classes, S the image's side in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.models.encoder import Encoder, embed

Ints = np.ndarray[Any, np.dtype[np.int64]]
LOOK = 256  # images a batch where nothing is learned


FLOOR = 1e-12  # variance; far below that of an untrained encoder's features, which PyTorch's 1e-5 would flatten


class Head(nn.Sequential):
    """Two layers on standardised features: BatchNorm, Linear, GELU, dropout, Linear; (B, D) to logits (B, K).

    The first step has nothing to learn. Without it a learning rate would compare the scale of the arms' features,
    which differs by orders of magnitude between ImageNet's and an untrained encoder's, instead of what they tell.
    """

    def __init__(self, feature_dim: int, hidden: int, dropout: float, classes: int) -> None:
        standardise = nn.BatchNorm1d(feature_dim, eps=FLOOR, affine=False)
        layers = (nn.Linear(feature_dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, classes))
        super().__init__(standardise, *layers)


class Classifier(nn.Module):
    """An encoder and the head on its features."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) images in [0, 1] to logits (B, K)."""
        logits: Tensor = self.head(self.encoder(images))
        return logits


def build_head(feature_dim: int, hidden: int, dropout: float, classes: int, seed: int) -> Head:
    """The head with first weights that depend on `seed` and its shape alone, so all arms get the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(feature_dim, hidden, dropout, classes)


@torch.no_grad()
def predict(classifier: Classifier, batches: Iterable[Tensor]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N, K) class probabilities of uint8 batches (B, 3, S, S), in evaluation mode."""
    logits = _logits(classifier.head, embed(classifier.encoder, batches))
    probabilities: np.ndarray[Any, np.dtype[np.float64]] = logits.double().softmax(dim=1).numpy()
    return probabilities


def _logits(head: Head, features: Tensor) -> Tensor:
    """(N, D) to logits (N, K) on the CPU, in evaluation mode and float32 whatever surrounds it."""
    learns, device = head.training, next(head.parameters()).device
    head.eval()
    with torch.autocast(device.type, enabled=False):
        logits: Tensor = head(features.to(device)).cpu()
    head.train(learns)
    return logits
