"""Projection of an image's pixels onto principal components: one matrix, and no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from components.base.config import Frozen
from components.models.backbone import CpuProfile

if TYPE_CHECKING:
    from components.models.encoder import Encoder


class Config(Frozen):
    """The shape of the matrix."""

    kind: Literal["pca"] = "pca"
    components: PositiveInt = 64
    side: PositiveInt = 32

    @property
    def cpu(self) -> CpuProfile:
        """Float32: one product of matrices."""
        return CpuProfile(precision="32-true", channels_last=False)

    def build(self) -> Encoder:
        """A random projection, until `pca` is fitted."""
        from components.models.encoder import Encoder
        from components.pretraining.pca.projection import PixelProjection

        return Encoder(PixelProjection(self.components, self.side), feature_dim=self.components)
