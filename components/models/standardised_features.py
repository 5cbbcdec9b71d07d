"""Pooled features of an encoder, each brought to mean 0 and variance 1, as the heads of pretraining methods read them.

B batch, D features, S the image's side in pixels.
"""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from components.models.encoder import Encoder, pool

Reads: TypeAlias = Literal["last_map", "all_stages"]
"""The maps whose pooled features a head reads."""


MOST = 5.0
"""Standard deviations. In training a feature that one image of a batch alone has is at most sqrt(B) standard deviations
from the mean; in evaluation, by the running variance, it can be tens, and a head has never seen such values."""


class StandardisedFeatures(nn.Module):
    """An encoder, its pooled features of the last map or of all stages side by side, and their standardisation.

    Stages differ in scale by orders of magnitude: without it the first layer of a head would see one stage alone.

    With `frozen_norm` BatchNorm of the encoder uses its running mean and variance in training, too, and keeps them:
    those of small batches of one kind of image take from published weights what they knew.
    """

    def __init__(self, encoder: Encoder, reads: Reads, *, frozen_norm: bool = False) -> None:
        super().__init__()
        self.encoder, self.reads, self.frozen_norm = encoder, reads, frozen_norm
        self.size = sum(_feature_sizes(encoder, reads))
        """D."""
        self.standardise = nn.BatchNorm1d(self.size, affine=False)

    def train(self, mode: bool = True) -> Self:
        """As torch's; BatchNorm of the encoder stays in evaluation mode where its statistics are frozen."""
        super().train(mode)
        if self.frozen_norm:
            for module in self.encoder.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def pooled(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] to pooled features as they are, (B, D); the last map's come last."""
        if self.reads == "last_map":
            return pool(self.encoder.map(images))
        return torch.cat([pool(each) for each in self.encoder.maps(images)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] to standardised features (B, D) within +- MOST."""
        return self.standardise(self.pooled(images)).clamp(-MOST, MOST)  # type: ignore[no-any-return]  # torch's call


def _feature_sizes(encoder: Encoder, reads: Reads) -> tuple[int, ...]:
    """Channels of the maps that are pooled; what the encoder itself reads stays as it was."""
    before = encoder.readout
    sizes = encoder.read(reads).feature_sizes
    encoder.read(before)
    return sizes
