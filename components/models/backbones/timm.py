"""Any convolutional network of timm by its name, such as `resnet18` or `convnext_atto`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from components.base.config import Frozen
from components.base.errors import SettingsError
from components.models.backbone import CpuProfile, Normalisation

if TYPE_CHECKING:
    from torch import nn

    from components.models.encoder import Encoder


class Config(Frozen):
    """The name of the network."""

    kind: Literal["timm"] = "timm"
    name: str = Field(
        default="test_efficientnet",
        pattern=r"^[a-z0-9][a-z0-9_]*(\.[a-z0-9_]+)?$",
        description="a name of timm.list_models(); the default, timm's smallest, is for tests",
    )

    @property
    def cpu(self) -> CpuProfile:
        """Bfloat16 for the families that were measured to be faster with it, float32 for the rest.

        Training images a second on one core with AVX512-BF16, 64 px, batch 64, float32 against bfloat16: resnet18 103
        and 178; convnext_atto 194 and 264 (with the weight gradient of `components.models.depthwise`);
        mobilenetv3_small 594 and 233.
        """
        if self.name.startswith(("convnext", "resnet")):
            return CpuProfile.bfloat16_if_native()
        return CpuProfile(precision="32-true", channels_last=True)

    @property
    def expects(self) -> Normalisation:
        """As timm's weights for this network were trained."""
        cfg: Any = _create(self.name).pretrained_cfg
        return Normalisation(tuple(cfg["mean"]), tuple(cfg["std"]))

    def build(self) -> Encoder:
        """The network up to its last feature map, without pooling and classifier; random weights.

        Raises:
            SettingsError: for a name that timm does not know, or a network that gives no feature map.
        """
        from components.models.depthwise import replace_depthwise
        from components.models.encoder import Encoder

        network = _create(self.name)
        if self.name.startswith("convnext"):
            replace_depthwise(network)
        return Encoder(network, feature_dim=_count_features(network, self.name))

    def download(self) -> nn.Module:
        """The network with timm's ImageNet weights, downloaded once and then cached by its hub."""
        return _create(self.name, pretrained=True)


def _create(name: str, pretrained: bool = False) -> nn.Module:
    """The network without pooling and classifier; SettingsError names the nearest names where timm has no such one."""
    import timm

    if not timm.is_model(name.partition(".")[0]):
        near = get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise SettingsError(f"backbone.name = {name!r}: timm has no such network; similar names: {near} (params.yaml)")
    network: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, global_pool="")
    return network


def _count_features(network: nn.Module, name: str) -> int:
    """D of a network whose output is a (B, D, h, w) map; others, such as transformers, are refused."""
    import torch

    from components.models.encoder import PROBE_SIDE

    network.eval()
    with torch.no_grad():
        try:
            shape = tuple(network(torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE)).shape)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise SettingsError(
                f"backbone.name = {name!r}: fails on an image of {PROBE_SIDE} px: {error} (params.yaml)"
            ) from error
    network.train()
    features: Any = network.num_features
    if len(shape) != 4 or shape[1] != features:
        raise SettingsError(
            f"backbone.name = {name!r}: gives {shape}, expected a map (1, {features}, h, w); "
            "name a convolutional network (params.yaml)"
        )
    return int(features)
