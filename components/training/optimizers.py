"""AdamW and its schedule: how fast each tensor learns at each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

Decay = Literal["cosine", "constant"]

WARM_UP = 0.1  # share of all steps over which the learning rate rises


def adamw(
    module: nn.Module,
    learning_rate: float,
    weight_decay: float,
    total_steps: int,
    *,
    warm_up: float = WARM_UP,
    decay: Decay = "cosine",
    scales: Mapping[str, float] | None = None,
) -> dict[str, Any]:  # Lightning's form of an optimiser with its schedule
    """AdamW (Loshchilov & Hutter 2019): linear warm-up to `learning_rate`, then a half cosine to 0, or constant.

    `scales` are shares of the learning rate by parameter name; who is not named has 1. Biases, norms' gains and
    other vectors have no weight decay. The fastest group comes first, and its rate is the one that is logged.
    For `configure_optimizers`.
    """
    groups = [
        {"params": weights, "lr": learning_rate * scale, "weight_decay": weight_decay if matrices else 0.0}
        for (scale, matrices), weights in _grouped(module, scales or {}).items()
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    share = partial(share_of_peak, total=total_steps, warm_up=warm_up, decay=decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _grouped(module: nn.Module, scales: Mapping[str, float]) -> dict[tuple[float, bool], list[nn.Parameter]]:
    """What learns, by its share of the learning rate and by whether it is a matrix; fastest and matrices first."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            groups.setdefault((scales.get(name, 1.0), weight.ndim > 1), []).append(weight)
    return {key: groups[key] for key in sorted(groups, reverse=True)}


def share_of_peak(step: int, total: int, warm_up: float = WARM_UP, decay: Decay = "cosine") -> float:
    """Learning rate at `step` of `total`, as a share of its peak."""
    rise = max(1, round(warm_up * total))
    if step < rise:
        return (step + 1) / rise
    if decay == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))
