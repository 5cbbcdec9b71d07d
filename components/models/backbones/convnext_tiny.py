"""ConvNeXt-Tiny (Liu et al. 2022), the paper's encoder: 27.8 million parameters, 768 features.

torchvision keeps the last LayerNorm in its classifier, after pooling. Here it closes the trunk, on the map,
so that its ImageNet weights come along and every arm hands normalised features to the head. The tensors keep
torchvision's names: a file of its weights loads as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from components.base.config import Frozen
from components.models.backbone import CpuProfile, Normalisation

if TYPE_CHECKING:
    from torch import nn

    from components.models.encoder import Encoder


class Config(Frozen):
    """ConvNeXt-Tiny has nothing to set."""

    kind: Literal["convnext_tiny"] = "convnext_tiny"

    @property
    def cpu(self) -> CpuProfile:
        """At 64 px CPUMARK."""
        return CpuProfile.gains_from_bfloat16()

    @property
    def expects(self) -> Normalisation:
        """What torchvision's ImageNet weights were trained on."""
        return Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def build(self) -> Encoder:
        """Four stages and the last LayerNorm, 768 channels at 1/32 of the image's side; random weights."""
        from components.models.depthwise import replace_depthwise
        from components.models.encoder import Encoder

        trunk = _trunk(weights=None)
        replace_depthwise(trunk)
        return Encoder(trunk, feature_dim=768)

    def download(self) -> nn.Module:
        """The trunk with torchvision's ImageNet weights, fetched once and then kept by torch.hub."""
        from torchvision.models import ConvNeXt_Tiny_Weights

        return _trunk(weights=ConvNeXt_Tiny_Weights.IMAGENET1K_V1)


def _trunk(weights: object) -> nn.Module:
    from torch import nn
    from torchvision.models import convnext_tiny

    net = convnext_tiny(weights=weights)
    return nn.Sequential(OrderedDict(features=net.features, classifier=nn.Sequential(net.classifier[0])))
