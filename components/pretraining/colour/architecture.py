"""48 numbers an image: eight quantiles each of red, green, blue, saturation, brightness and edge strength.

They know which colours an image has and how much structure, but not where. B batch, S the image's side, Q quantiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from components.base.config import Frozen
from components.models.backbone import CpuProfile, Normalisation

if TYPE_CHECKING:
    from torch import nn

    from components.models.encoder import Encoder

FEATURES = 48


class Config(Frozen):
    """No settings."""

    kind: Literal["colour"] = "colour"

    @property
    def cpu(self) -> CpuProfile:
        """Float32 in torch's own layout: nothing is multiplied, values are sorted."""
        return CpuProfile(precision="32-true", channels_last=False)

    @property
    def expects(self) -> Normalisation:
        """ImageNet's mean and standard deviation, as the encoder normalises."""
        return Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def build(self) -> Encoder:
        """No weights: each one built is the same."""
        from components.models.encoder import Encoder
        from components.pretraining.colour.quantiles import ColourQuantiles

        return Encoder(ColourQuantiles(), feature_dim=FEATURES)

    def download(self) -> nn.Module:
        """There are no published weights."""
        raise NotImplementedError("colour quantiles have no weights")
