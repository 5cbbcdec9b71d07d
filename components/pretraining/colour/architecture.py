"""48 numbers an image: eight quantiles each of red, green, blue, chroma, brightness and edge strength.

They know which colours an image has and how much structure, but not where. B batch, S the image's side, Q quantiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from components.base.config import Frozen
from components.models.backbone import CpuProfile

if TYPE_CHECKING:
    from components.models.encoder import Encoder

FEATURES = 48


class Config(Frozen):
    """No settings."""

    kind: Literal["colour"] = "colour"

    @property
    def cpu(self) -> CpuProfile:
        """Float32 in torch's own layout: nothing is multiplied, values are sorted."""
        return CpuProfile(precision="32-true", channels_last=False)

    def build(self) -> Encoder:
        """No weights: each one built is the same."""
        from components.models.encoder import Encoder
        from components.pretraining.colour.quantiles import ColourQuantiles

        return Encoder(ColourQuantiles(), feature_dim=FEATURES)
