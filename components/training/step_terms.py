"""The loss terms, gradient norms and learning rates of the steps of one epoch.

Reading a number from a GPU stops it. So the terms stay on the device, and are read every SYNC_STEPS steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from components.training.history import EpochRow

SYNC_STEPS = 50
"""Steps between two synchronizations with a GPU or with other devices."""

GRADIENT_NORM = "gradient_norm"


@dataclass(eq=False)
class StepTerms:
    """One number per step of each term that `training_step` returns, and of the gradient norm."""

    values: dict[str, list[float]] = field(default_factory=dict)
    """Means over all devices."""
    rates: list[float] = field(default_factory=list)
    """Learning rates."""
    pending: list[dict[str, Tensor]] = field(default_factory=list)
    """Terms of this device, one entry per step since the last `gather`."""
    gradient_norm: Tensor | None = None
    """Of the current step, before clipping."""

    def add(self, outputs: Mapping[str, Tensor]) -> None:
        """Keep the terms of a step on their device."""
        norm = {} if self.gradient_norm is None else {GRADIENT_NORM: self.gradient_norm}
        self.pending.append({name: value.detach() for name, value in outputs.items()} | norm)

    def gather(self, average: Callable[[Tensor], Tensor]) -> int | None:
        """Read the pending terms into `values`.

        Args:
            average: mean of a tensor over all devices.

        Returns:
            The first of these steps with a loss that is not finite, counted from 0; None where all are finite.
        """
        if not self.pending:
            return None
        names = list(self.pending[0])
        block = torch.stack([torch.stack([terms[name].float() for name in names]) for terms in self.pending])
        columns = average(block).cpu().T.tolist()
        first, self.pending = len(self.values.get("loss", [])), []
        for name, column in zip(names, columns, strict=True):
            self.values.setdefault(name, []).extend(column)
        losses = self.values["loss"]
        return next((step for step in range(first, len(losses)) if not math.isfinite(losses[step])), None)

    def at(self, step: int) -> dict[str, float]:
        """The loss terms of one step."""
        return {name: column[step] for name, column in self.values.items() if name != GRADIENT_NORM}

    def means(self) -> EpochRow:
        """The mean of each loss term over the epoch's steps, as `fit/<term>`."""
        return {f"fit/{name}": float(np.mean(column)) for name, column in self.values.items() if name != GRADIENT_NORM}

    def norms(self) -> EpochRow:
        """Mean and maximum of the gradient norm over the epoch's steps."""
        norms = self.values.get(GRADIENT_NORM, [])
        if not norms:
            return {}
        return {f"fit/{GRADIENT_NORM}": float(np.mean(norms)), f"fit/{GRADIENT_NORM}_max": max(norms)}
