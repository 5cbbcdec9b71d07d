"""The classifier: an encoder and the head on its features, which is the same for every arm.

B batch, N images, D features, K classes, S the image's side in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from components.models.encoder import Encoder, embed

FLOOR_SHARE = 1e-4
"""Of the mean variance of all features, added to the variance of each before the features are divided by its root.

So a feature that varies a hundred times less than the others is not raised to their scale. The floor is relative, since
the features of an untrained encoder vary orders of magnitude less than those of ImageNet weights.
"""

SILENT_SHARE = 1e-6
"""Of the mean variance of all features: a feature that varies less over the train images is set to zero."""


class Standardisation(nn.BatchNorm1d):
    """Features (B, D) minus their mean, divided by their standard deviation, without parameters.

    In evaluation mode the statistics are those of `fit`: the exact mean and variance over train features, and a silent
    feature is 0. In training mode, which follows an encoder that is trained, they are those of the batch. Statistics of
    BatchNorm's running average would be wrong for a feature that is silent in most batches: its variance falls towards
    zero, and one image in which it is active gets a value that is larger than all others by orders of magnitude.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, feature_dim: int) -> None:
        super().__init__(feature_dim, affine=False)
        self.fixed = False
        """Whether training uses the statistics of `fit`, too: those of a frozen encoder do not change."""

    @property
    def eps(self) -> float:
        """FLOOR_SHARE of the mean variance over the features that are not silent."""
        known = self.running_var[torch.isfinite(self.running_var)]
        return max(FLOOR_SHARE * float(known.mean()), torch.finfo(torch.float32).tiny) if len(known) else 1.0

    @eps.setter
    def eps(self, _value: float) -> None:
        """BatchNorm sets a constant; here it follows the features."""

    def train(self, mode: bool = True) -> Self:
        """Training mode has no effect on fixed statistics."""
        return super().train(mode and not self.fixed)

    def extra_repr(self) -> str:
        """As BatchNorm shows itself; its own function reads `eps` where a property is not found."""
        return f"{self.num_features}, eps={self.eps:g}"

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Take the mean and variance of features (N, D), N above 0, computed in float64."""
        values = features.to(self.running_mean.device, torch.float64)
        variance = values.var(0, correction=0)
        silent = variance <= SILENT_SHARE * variance.mean()
        self.running_mean.copy_(values.mean(0))
        self.running_var.copy_(variance.masked_fill(silent, torch.inf))  # divided by infinity a feature is 0


class StageStandardisation(nn.Module):
    """`Standardisation` of the features of each stage apart.

    The variance of features differs between the stages of one network by orders of magnitude, and what is silent, and
    the floor, are relative to the variance of the others.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = list(sizes)
        """Features of each stage, D in sum."""
        self.stages = nn.ModuleList(Standardisation(size) for size in sizes)

    @property
    def fixed(self) -> bool:
        """Whether training uses the statistics of `fit`, too."""
        return all(each.fixed for each in self.parts)

    @fixed.setter
    def fixed(self, value: bool) -> None:
        for each in self.parts:
            each.fixed = value

    @property
    def parts(self) -> list[Standardisation]:
        """That of each stage, in the order of the features."""
        return [each for each in self.stages if isinstance(each, Standardisation)]

    def fit(self, features: Tensor) -> None:
        """`Standardisation.fit` of each stage on its part of features (N, D)."""
        for each, part in zip(self.parts, torch.split(features, self.sizes, dim=1), strict=True):
            each.fit(part)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, D), standardised."""
        parts = torch.split(features, self.sizes, dim=1)
        return torch.cat([each(part) for each, part in zip(self.stages, parts, strict=True)], dim=1)


class Head(nn.Sequential):
    """Standardisation, Linear, GELU, dropout, Linear; features (B, D) to logits (B, K).

    The scale of features differs between arms by orders of magnitude (ImageNet weights against an untrained encoder);
    without standardisation, one learning rate for all arms would compare scales, not features.
    """

    def __init__(self, feature_sizes: Sequence[int], hidden: int, dropout: float, classes: int) -> None:
        """`feature_sizes`: features of each stage that is read (`Encoder.feature_sizes`), D in sum."""
        layers = (nn.Linear(sum(feature_sizes), hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, classes))
        super().__init__(StageStandardisation(feature_sizes), *layers)

    @property
    def standardisation(self) -> StageStandardisation:
        """The first layer."""
        first = self[0]
        assert isinstance(first, StageStandardisation)
        return first


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


def build_head(feature_sizes: Sequence[int], hidden: int, dropout: float, classes: int, seed: int) -> Head:
    """A head whose initial weights depend on its shape and `seed` only, so that all arms start with the same.

    The global random state of torch stays as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(feature_sizes, hidden, dropout, classes)


@torch.no_grad()
def predict(classifier: Classifier, batches: Iterable[Tensor]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Class probabilities (N, K) of uint8 batches (B, 3, S, S), at least one, in evaluation mode.

    Each batch is computed apart: an image's probabilities do not depend on how many batches there are.
    """
    each = (predict_features(classifier.head, embed(classifier.encoder, [batch])) for batch in batches)
    return np.concatenate(list(each))


@torch.no_grad()
def predict_features(head: Head, features: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Class probabilities (B, K) of pooled features (B, D), in evaluation mode.

    The softmax is computed in float64, so that each row sums to 1 within 1e-12.
    """
    probabilities: np.ndarray[Any, np.dtype[np.float64]] = head_logits(head, features).double().softmax(dim=1).numpy()
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
