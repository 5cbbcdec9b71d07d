"""The classifier: an encoder and the head on its features, which is the same for every arm.

B batch, N images, D features, K classes, S the image's side in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.models.encoder import Encoder, embed

MIN_VARIANCE = 1e-12
"""Epsilon of the head's BatchNorm: far below the feature variance of an untrained encoder.

With PyTorch's default of 1e-5 those features would be scaled to almost zero.
"""


class Head(nn.Sequential):
    """BatchNorm without parameters, Linear, GELU, dropout, Linear; features (B, D) to logits (B, K).

    The BatchNorm standardises the features. Their scale differs between arms by orders of magnitude (ImageNet weights
    against an untrained encoder); without it, one learning rate for all arms would compare scales, not features.
    """

    def __init__(self, feature_dim: int, hidden: int, dropout: float, classes: int) -> None:
        standardise = nn.BatchNorm1d(feature_dim, eps=MIN_VARIANCE, affine=False)
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
    """A head whose initial weights depend on its shape and `seed` only, so that all arms start with the same.

    The global random state of torch stays as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(feature_dim, hidden, dropout, classes)


@torch.no_grad()
def predict(classifier: Classifier, batches: Iterable[Tensor]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Class probabilities (N, K) of uint8 batches (B, 3, S, S), in evaluation mode.

    The softmax is computed in float64, so that each row sums to 1 within 1e-12.
    """
    logits = head_logits(classifier.head, embed(classifier.encoder, batches))
    probabilities: np.ndarray[Any, np.dtype[np.float64]] = logits.double().softmax(dim=1).numpy()
    return probabilities


def head_logits(head: Head, features: Tensor) -> Tensor:
    """Features (N, D) to logits (N, K) on the CPU, in evaluation mode.

    Computed in float32 also inside an autocast block. The head's mode is restored.
    """
    was_training, device = head.training, next(head.parameters()).device
    head.eval()
    with torch.autocast(device.type, enabled=False):
        logits: Tensor = head(features.to(device)).cpu()
    head.train(was_training)
    return logits
