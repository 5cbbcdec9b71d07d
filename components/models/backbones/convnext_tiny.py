"""ConvNeXt-Tiny (Liu et al. 2022), the paper's encoder: 27.8 million parameters, 768 features.

torchvision keeps the last LayerNorm in its classifier, after pooling. Here it ends the encoder, on the feature map
before pooling: its ImageNet weights are then loaded too, and every arm gives normalised features to the head. The
tensors keep torchvision's names, so that a file of its weights loads without changes.
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
    """ConvNeXt-Tiny has no settings."""

    kind: Literal["convnext_tiny"] = "convnext_tiny"

    @property
    def cpu(self) -> CpuProfile:
        """Bfloat16 where the CPU has it.

        Training images a second on one core with AVX512-BF16, 64 px, batch 64: 28-31 in float32, 43-49 in bfloat16,
        58 in bfloat16 with the depthwise weight gradient of `components.models.depthwise`.
        """
        return CpuProfile.bfloat16_if_native()

    @property
    def expects(self) -> Normalisation:
        """ImageNet's mean and standard deviation, as torchvision trained its weights."""
        return Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def build(self) -> Encoder:
        """Four stages and the last LayerNorm: 768 channels at 1/32 of the image's side, random weights."""
        from components.models.depthwise import replace_depthwise
        from components.models.encoder import Encoder

        network = _network(weights=None)
        replace_depthwise(network)
        return Encoder(network, feature_dim=768)

    def download(self) -> nn.Module:
        """The network with torchvision's ImageNet weights, downloaded once and then cached by torch.hub."""
        from torchvision.models import ConvNeXt_Tiny_Weights

        return _network(weights=ConvNeXt_Tiny_Weights.IMAGENET1K_V1)


def _network(weights: object) -> nn.Module:
    from torch import nn
    from torchvision.models import convnext_tiny

    net = convnext_tiny(weights=weights)
    return nn.Sequential(OrderedDict(features=net.features, classifier=nn.Sequential(net.classifier[0])))
