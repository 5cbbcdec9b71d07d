"""The learning-rate range test (Smith 2017): raise the rate with each step and record the loss.

At low rates the loss stays, at high rates it diverges. The suggested peak is a tenth of the rate at which the smoothed
loss is lowest: the loss still falls there, and the rate is far from the one at which training diverges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from components.base.errors import TrainingError
from components.training.prefetch import change_tensors, endless
from components.training.session import Session

SMOOTHING = 0.9
"""Weight of earlier losses in the moving average."""

DIVERGED = 3.0
"""The test ends where the smoothed loss exceeds its lowest value by this factor."""

MARGIN = 10.0
"""The rate of the lowest loss divided by the suggested rate."""

MIN_STEPS = 10
"""With fewer steps the curve is too coarse."""


@dataclass(frozen=True)
class RangeTest:
    """The curve, with one value a step."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Before each step."""
    smoothed: tuple[float, ...]
    """Moving average of the losses."""

    @property
    def lowest(self) -> float:
        """The learning rate of the lowest smoothed loss."""
        return self.rates[int(np.nanargmin(self.smoothed))]

    @property
    def suggestion(self) -> float:
        """The suggested peak learning rate."""
        return self.lowest / MARGIN

    @property
    def diverged(self) -> bool:
        """True where the loss diverged in the end; if not, the highest rate was too low to see it."""
        return not math.isfinite(self.losses[-1]) or self.smoothed[-1] > DIVERGED * min(self.smoothed)


def run_range_test(
    module: pl.LightningModule,
    batches: Callable[[int], Iterable[Any]],
    session: Session,
    *,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
) -> RangeTest:
    """Train `module` at learning rates that rise from `lowest` to `highest` by an equal factor each step.

    The rates of parameter groups keep their ratios; the curve has the first group's.

    Args:
        module: is changed by the training; not to be used afterwards.
        batches: epoch number, from 0, to its batches.
        session: device, number format, seed.
        steps: at most; the test ends earlier where the loss diverges.
        lowest: rate of the first step.
        highest: rate of the last step.

    Raises:
        TrainingError: for too few steps, rates that do not rise, or a loss that is not finite at the first step.
    """
    if steps < MIN_STEPS or not 0 < lowest < highest:
        raise TrainingError(
            f"range test: {steps} steps from {lowest:g} to {highest:g}, expected {MIN_STEPS} at least, "
            "and rising rates above 0"
        )
    torch.manual_seed(session.seed)  # for dropout: the same test gives the same curve
    session.place(module)
    module.train()
    made: Any = module.configure_optimizers()
    optimizer: torch.optim.Optimizer = made["optimizer"]
    shares = _shares(optimizer)
    rates = np.geomspace(lowest, highest, steps).tolist()
    losses: list[float] = []
    smoothed: list[float] = []
    for step, (rate, batch) in enumerate(zip(rates, endless(batches), strict=False)):
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = rate * share
        losses.append(_step(module, batch, step, optimizer, session))
        smoothed.append(_average(losses[-1], smoothed, losses))
        if not math.isfinite(losses[-1]) or smoothed[-1] > DIVERGED * min(smoothed):
            break
    if not math.isfinite(losses[0]):
        raise TrainingError(f"range test: the loss is {losses[0]} before the first step, expected a finite number")
    return RangeTest(tuple(rates[: len(losses)]), tuple(losses), tuple(smoothed))


def _shares(optimizer: torch.optim.Optimizer) -> list[float]:
    """Each group's learning rate as a share of the first's."""
    peaks = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    return [peak / peaks[0] for peak in peaks]


def _step(
    module: pl.LightningModule, batch: Any, number: int, optimizer: torch.optim.Optimizer, session: Session
) -> float:
    """Take one step; returns the loss before it."""
    batch = change_tensors(batch, lambda tensor: tensor.to(session.device))
    with session.autocast():
        terms: Any = module.training_step(batch, number)
    loss = terms["loss"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _average(loss: float, smoothed: list[float], losses: list[float]) -> float:
    """Exponential moving average with bias correction (Kingma & Ba 2015, section 3)."""
    count = len(losses)
    past = smoothed[-1] * (1 - SMOOTHING ** (count - 1)) if smoothed else 0.0
    return (SMOOTHING * past + (1 - SMOOTHING) * loss) / (1 - SMOOTHING**count)
