"""A trunk's stages, from the images to the last map: for learning rates by depth, freezing and drop path.

timm's nets say themselves which tensor stands how deep (`group_matcher`); torchvision's ConvNeXt is read by its
names. The stem is depth 0, the tensors after the last stage are the deepest.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from torch import nn

from components.base.errors import SettingsError

DROPS = ("drop_path", "drop_path1", "drop_path2", "stochastic_depth")
"""What blocks of timm and torchvision call the place where a residual branch may be dropped."""


def depths(trunk: nn.Module, by_stage: bool) -> dict[str, int]:
    """Depth of each parameter, counted from 0 without gaps: by stage, or by block."""
    from timm.models import group_parameters

    matcher: Any
    tell: Any = getattr(trunk, "group_matcher", None)
    if tell is not None:
        matcher = tell(coarse=by_stage)
    elif {name.split(".")[0] for name, _ in trunk.named_parameters()} == {"features", "classifier"}:
        matcher = partial(_convnext, by_stage=by_stage)
    else:
        raise SettingsError(
            f"finetune.layer_decay and finetune.freeze: the trunk {type(trunk).__name__} does not tell its stages; "
            "give it a method group_matcher as timm's nets have it, or set 1 and 0 (params.yaml)"
        )
    found: dict[str, int] = group_parameters(trunk, matcher, reverse=True)
    return found


def _convnext(name: str, by_stage: bool) -> tuple[float, ...]:
    """Sorts torchvision's names: features.0 is the stem, odd numbers are stages, even ones lead to the next."""
    place, *rest = name.split(".")[1:]
    if not name.startswith("features"):
        return (math.inf,)
    stage = (int(place) + 1) // 2 if int(place) % 2 else int(place) // 2 + (place != "0")
    if by_stage:
        return (stage,)
    return (stage, int(rest[0]) if int(place) % 2 else 0)  # the way into a stage belongs to its first block


def layer_scales(trunk: nn.Module, decay: float) -> dict[str, float]:
    """Share of the learning rate of each parameter: `decay` to the power of its distance from the head in blocks.

    What is next to the head has distance 1 (Clark et al. 2020; Bao et al. 2022).
    """
    found = depths(trunk, by_stage=False)
    count = max(found.values()) + 1
    return {name: decay ** (count - depth) for name, depth in found.items()}


def freeze(trunk: nn.Module, stages: int) -> list[nn.Module]:
    """Let the stem and the first `stages` learn nothing; gives the modules that must stay in evaluation mode.

    In evaluation mode BatchNorm keeps its statistics and drop path drops nothing: a frozen stage is one function.
    """
    if stages == 0:
        return []
    found = depths(trunk, by_stage=True)
    most = max(found.values()) - 1
    if stages > most:
        raise SettingsError(
            f"finetune.freeze = {stages}: expected at most {most} for this backbone, so that something of it "
            "learns; the protocol frozen freezes it whole (params.yaml)"
        )
    frozen = {name for name, depth in found.items() if depth <= stages}
    for name, weight in trunk.named_parameters():
        weight.requires_grad_(name not in frozen)
    return [module for module in trunk.modules() if _is_within(module)]


def _is_within(module: nn.Module) -> bool:
    """Whether there are weights in it and none of them learns."""
    weights = list(module.parameters())
    return bool(weights) and not any(weight.requires_grad for weight in weights)


def set_drop_path(trunk: nn.Module, rate: float | None) -> None:
    """Drop residual branches while training: linearly from 0 at the first block to `rate` at the last.

    Huang et al. 2016, eq. 4, counted from 0 as in ConvNeXt. None leaves the net as its makers built it: 0.1 for
    torchvision's ConvNeXt-Tiny, 0 for timm's nets.
    """
    if rate is None:
        return
    from timm.layers.drop import DropPath

    blocks = [module for module in trunk.modules() if any(hasattr(module, name) for name in DROPS)]
    if not any(getattr(block, "has_skip", True) for block in blocks):  # timm's word in nets of inverted residuals
        raise SettingsError(
            f"finetune.drop_path = {rate}: the trunk {type(trunk).__name__} has no residual branches that timm or "
            "torchvision could drop; set null (params.yaml)"
        )
    for number, block in enumerate(blocks):
        for name in filter(partial(hasattr, block), DROPS):
            setattr(block, name, DropPath(rate * number / max(1, len(blocks) - 1)))
