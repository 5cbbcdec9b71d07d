"""Depth of each parameter of a network by stage or block: for learning rates by depth, freezing and drop path.

timm's networks state the depth of their tensors themselves (`group_matcher`); torchvision's ConvNeXt is read by its
names. The stem has depth 0; the tensors after the last stage have the largest depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from components.base.errors import SettingsError

DROP_PATH_NAMES = ("drop_path", "drop_path1", "drop_path2", "stochastic_depth")
"""Attributes of a block in timm and torchvision that hold the module which drops its residual branch."""


def depths(network: nn.Module, by_stage: bool) -> dict[str, int]:
    """Depth of each parameter by name, from 0 without gaps: number of its stage, or else of its block.

    Empty for a network without parameters: nothing of it can be trained.

    Raises:
        SettingsError: where the network states no stages.
    """
    if not any(True for _ in network.parameters()):
        return {}
    from timm.models import group_parameters

    matcher: Any
    own_matcher: Any = getattr(network, "group_matcher", None)
    if own_matcher is not None:
        matcher = own_matcher(coarse=by_stage)
    elif {name.split(".")[0] for name, _ in network.named_parameters()} == {"features", "classifier"}:
        matcher = partial(_convnext_place, by_stage=by_stage)
    else:
        raise SettingsError(
            f"finetune.layer_decay, freeze and features: the backbone {type(network).__name__} does not state its "
            "stages; give it a method group_matcher like those of timm, or set 1, 0 and last_map (params.yaml)"
        )
    found: dict[str, int] = group_parameters(network, matcher, reverse=True)
    return found


def _convnext_place(name: str, by_stage: bool) -> tuple[float, ...]:
    """A sort key of torchvision's names: features.0 is the stem, odd numbers are stages, even ones downsample."""
    place, *rest = name.split(".")[1:]
    if not name.startswith("features"):
        return (math.inf,)
    stage = (int(place) + 1) // 2 if int(place) % 2 else int(place) // 2 + (place != "0")
    if by_stage:
        return (stage,)
    return (stage, int(rest[0]) if int(place) % 2 else 0)  # a downsampling layer counts to the next stage's first block


def stage_ends(network: nn.Module) -> list[str]:
    """Names of the modules that end the stages, from stage 1 to the last but one: the last one ends the network.

    A stage's end is the largest module that holds its last tensor and no tensor of another stage. Empty for a network
    without parameters.

    Raises:
        SettingsError: where the network states no stages.
    """
    found = depths(network, by_stage=True)
    last = {depth: name for name, depth in found.items()}  # the last tensor of each stage
    return [_largest_module(name, found) for depth, name in sorted(last.items()) if 0 < depth < max(last)]


def _largest_module(tensor: str, found: Mapping[str, int]) -> str:
    parts = tensor.split(".")
    prefixes = (".".join(parts[:count]) for count in range(1, len(parts)))
    return next(
        prefix
        for prefix in prefixes
        if {depth for name, depth in found.items() if name.startswith(f"{prefix}.")} == {found[tensor]}
    )


def layer_scales(network: nn.Module, decay: float) -> dict[str, float]:
    """Share of the learning rate of each parameter by name, in (0, 1]: `decay` ** (distance from the head in blocks).

    The block next to the head has distance 1 (Clark et al. 2020; Bao et al. 2022).
    """
    found = depths(network, by_stage=False)
    count = max(found.values(), default=0) + 1
    return {name: decay ** (count - depth) for name, depth in found.items()}


def freeze(network: nn.Module, stages: int) -> list[nn.Module]:
    """Freeze the stem and the first `stages` stages; 0 freezes nothing, not even the stem.

    Returns:
        The modules that must stay in evaluation mode, where BatchNorm keeps its statistics and drop path drops
        nothing, so that a frozen stage is a fixed function.

    Raises:
        SettingsError: where no stage would be left to train.
    """
    if stages == 0:
        return []
    found = depths(network, by_stage=True)
    if not found:
        return []
    most = max(found.values()) - 1
    if stages > most:
        raise SettingsError(
            f"finetune.freeze = {stages}: expected at most {most} for this backbone, so that a part of it is trained; "
            "the protocol frozen freezes all of it (params.yaml)"
        )
    frozen = {name for name, depth in found.items() if depth <= stages}
    for name, weight in network.named_parameters():
        weight.requires_grad_(name not in frozen)
    return [module for module in network.modules() if _is_frozen(module)]


def _is_frozen(module: nn.Module) -> bool:
    """True where the module has weights and none of them is trained."""
    weights = list(module.parameters())
    return bool(weights) and not any(weight.requires_grad for weight in weights)


def set_drop_path(network: nn.Module, rate: float | None) -> None:
    """Drop residual branches in training, with a probability that rises linearly from 0 (first block) to `rate` (last).

    Huang et al. 2016, eq. 4, counted from 0 as in ConvNeXt. None leaves the network as its authors built it: 0.1 for
    torchvision's ConvNeXt-Tiny, 0 for timm's networks.

    Raises:
        SettingsError: where the network has no residual branch of timm or torchvision.
    """
    if rate is None or not any(True for _ in network.parameters()):
        return
    from timm.layers.drop import DropPath

    blocks = [module for module in network.modules() if any(hasattr(module, name) for name in DROP_PATH_NAMES)]
    if not any(getattr(block, "has_skip", True) for block in blocks):  # has_skip: timm's inverted residual blocks
        raise SettingsError(
            f"finetune.drop_path = {rate}: the backbone {type(network).__name__} has no residual branches that timm or "
            "torchvision could drop; set null (params.yaml)"
        )
    for number, block in enumerate(blocks):
        for name in filter(partial(hasattr, block), DROP_PATH_NAMES):
            setattr(block, name, DropPath(rate * number / max(1, len(blocks) - 1)))
