"""AdamW and its schedule: the learning rate of each parameter at each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from components.training.settings import Decay

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
) -> dict[str, Any]:  # the form that Lightning expects of an optimizer with its schedule
    """AdamW (Loshchilov & Hutter 2019): linear warm-up to `learning_rate`, then a half cosine to 0, or constant.

    Biases, the gains of norm layers and other vectors have no weight decay. The parameter group with the highest
    learning rate comes first; its rate is the one that is logged.

    Args:
        module: only its parameters with `requires_grad` are optimized.
        learning_rate: peak.
        weight_decay: of matrices and larger tensors.
        total_steps: steps of the whole schedule.
        warm_up: share of all steps over which the learning rate rises.
        decay: of the learning rate after the warm-up.
        scales: factors of the learning rate by parameter name; 1 for names that are not in it.

    Returns:
        Optimizer and schedule, for `configure_optimizers`.
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
    """Trained parameters by (factor of the learning rate, True for matrices); highest rate and matrices first."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            groups.setdefault((scales.get(name, 1.0), weight.ndim > 1), []).append(weight)
    return {key: groups[key] for key in sorted(groups, reverse=True)}


def share_of_peak(step: int, total: int, warm_up: float = WARM_UP, decay: Decay = "cosine") -> float:
    """Learning rate at `step` (from 0) of `total` steps, as a share of its peak, in [0, 1]."""
    rise = max(1, round(warm_up * total))
    if step < rise:
        return (step + 1) / rise
    if decay == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))
