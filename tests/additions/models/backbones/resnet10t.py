"""ResNet-10-T, the smallest residual network of timm: 4.9 million parameters, 512 features (He et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from components.base.config import Frozen
from components.models.backbone import CpuProfile, Normalisation

if TYPE_CHECKING:
    from torch import nn

    from components.models.encoder import Encoder


class Config(Frozen):
    """ResNet-10-T has no settings."""

    kind: Literal["resnet10t"] = "resnet10t"

    @property
    def cpu(self) -> CpuProfile:
        """Bfloat16 where the CPU calculates in it: residual networks gain from it."""
        return CpuProfile.bfloat16_if_native()

    @property
    def expects(self) -> Normalisation:
        """ImageNet's mean and standard deviation."""
        return Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def build(self) -> Encoder:
        """Up to the last feature map, 512 channels at 1/32 of the image's side, with random weights."""
        from components.models.encoder import Encoder

        return Encoder(_network(pretrained=False), feature_dim=512)

    def download(self) -> nn.Module:
        """The same network with timm's ImageNet weights, over the network."""
        return _network(pretrained=True)


def _network(pretrained: bool) -> nn.Module:
    import timm

    net: nn.Module = timm.create_model("resnet10t", pretrained=pretrained, num_classes=0, global_pool="")
    return net
