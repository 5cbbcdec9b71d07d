"""Any convolutional net of timm by its name, such as `resnet18` or `convnext_atto`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from components.base.config import Frozen
from components.base.errors import SettingsError
from components.models.backbone import CpuProfile, Normalisation

if TYPE_CHECKING:
    from torch import nn

    from components.models.encoder import Encoder

PROBE = 64
"""Pixels, the side of the image that shows what map a net gives."""


class Config(Frozen):
    """Which net, in timm's own words."""

    kind: Literal["timm"] = "timm"
    name: str = Field(
        default="test_efficientnet",
        pattern=r"^[a-z0-9][a-z0-9_]*(\.[a-z0-9_]+)?$",
        description="a name of timm.list_models(); the default is timm's smallest, for trying things out",
    )

    @property
    def cpu(self) -> CpuProfile:
        """Bfloat16 for the families that were seen to gain from it (x1.2 to x2), float32 for the rest."""
        if self.name.startswith(("convnext", "resnet")):
            return CpuProfile.gains_from_bfloat16()
        return CpuProfile(precision="32-true", channels_last=True)

    @property
    def expects(self) -> Normalisation:
        """What timm's weights for this net were trained on."""
        cfg: Any = _create(self.name).pretrained_cfg
        return Normalisation(tuple(cfg["mean"]), tuple(cfg["std"]))

    def build(self) -> Encoder:
        """The net up to its last map, without pooling and classifier; random weights."""
        from components.models.depthwise import replace_depthwise
        from components.models.encoder import Encoder

        trunk = _create(self.name)
        if self.name.startswith("convnext"):
            replace_depthwise(trunk)
        return Encoder(trunk, feature_dim=_check_map(trunk, self.name))

    def download(self) -> nn.Module:
        """The trunk with timm's ImageNet weights, fetched once and then kept by its hub."""
        return _create(self.name, pretrained=True)


def _create(name: str, pretrained: bool = False) -> nn.Module:
    """The net without its head; a name that timm does not know is answered with those nearest to it."""
    import timm

    if not timm.is_model(name.partition(".")[0]):
        near = _near(name, timm.list_models())
        raise SettingsError(f"backbone.name = {name!r}: timm knows no such net; near it: {near} (params.yaml)")
    net: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, global_pool="")
    return net


def _near(name: str, known: list[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(name, known, n=5, cutoff=0.5)


def _check_map(trunk: nn.Module, name: str) -> int:
    """D of a net whose last output is a (B, D, h, w) map; others, such as transformers, are refused."""
    import torch

    trunk.eval()
    with torch.no_grad():
        try:
            shape = tuple(trunk(torch.zeros(1, 3, PROBE, PROBE)).shape)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise SettingsError(
                f"backbone.name = {name!r}: takes no {PROBE} px image: {error} (params.yaml)"
            ) from error
    trunk.train()
    features: Any = trunk.num_features
    if len(shape) != 4 or shape[1] != features:
        raise SettingsError(
            f"backbone.name = {name!r}: gives {shape}, expected a map (1, {features}, h, w); "
            "name a convolutional net (params.yaml)"
        )
    return int(features)
