"""EfficientNet-Lite0, a small network made for CPUs: 3.4 million parameters, 1280 features.

Tan & Le 2019, without squeeze-and-excitation and with ReLU6; timm's `tf_efficientnet_lite0`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from components.base.config import Frozen
from components.models.backbone import CpuProfile, Normalisation

if TYPE_CHECKING:
    from torch import nn

    from components.models.encoder import Encoder


class Config(Frozen):
    """EfficientNet-Lite0 has no settings."""

    kind: Literal["efficientnet_lite0"] = "efficientnet_lite0"

    @property
    def cpu(self) -> CpuProfile:
        """Float32 in channels_last: 156 training images a second on one core at 64 px, batch 64; 88 in bfloat16."""
        return CpuProfile(precision="32-true", channels_last=True)

    @property
    def expects(self) -> Normalisation:
        """Pixels in [-1, 1], as its published ImageNet weights were trained."""
        return Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def build(self) -> Encoder:
        """Up to the last convolution: 1280 channels at 1/32 of the image's side, random weights."""
        from components.models.encoder import Encoder

        return Encoder(_network(pretrained=False), feature_dim=1280)

    def download(self) -> nn.Module:
        """The network with timm's ImageNet weights, downloaded once and then cached by its hub."""
        return _network(pretrained=True)


def _network(pretrained: bool) -> nn.Module:
    import timm

    net: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=pretrained, num_classes=0, global_pool="")
    return net
