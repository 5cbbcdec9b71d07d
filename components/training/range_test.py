"""The learning-rate range test (Smith 2017): raise the rate from step to step and watch where the loss falls.

Below some rate nothing is learned, above another the loss climbs. The one to suggest as a peak is a tenth of the rate
at which the smoothed loss is lowest: there it still falls, and a whole schedule has room above.
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

SMOOTHING = 0.9  # weight of the past in the moving average of the loss
DIVERGED = 3.0  # times the lowest smoothed loss, above which the test ends
MARGIN = 10.0  # the suggestion stands so far below the rate of the lowest loss
FEWEST = 10  # steps; of fewer no curve can be read


@dataclass(frozen=True)
class RangeTest:
    """The curve, one point a step, and what it suggests."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The learning rate of the lowest smoothed loss."""
        return self.rates[int(np.nanargmin(self.smoothed))]

    @property
    def suggestion(self) -> float:
        """A peak learning rate."""
        return self.lowest / MARGIN

    @property
    def diverged(self) -> bool:
        """Whether the loss climbed in the end; if not, the test did not go high enough."""
        return not math.isfinite(self.losses[-1]) or self.smoothed[-1] > DIVERGED * min(self.smoothed)


def run(
    module: pl.LightningModule,
    batches: Callable[[int], Iterable[Any]],
    session: Session,
    *,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
) -> RangeTest:
    """Train `module`, which is spent afterwards, at rates from `lowest` to `highest`, equal factors apart.

    Rates of parameter groups keep their ratios; the rate that is told is the first group's.
    """
    if steps < FEWEST or not 0 < lowest < highest:
        raise TrainingError(
            f"range test: {steps} steps from {lowest:g} to {highest:g}, expected {FEWEST} at least, "
            "and rates above 0 that rise"
        )
    torch.manual_seed(session.seed)  # dropout: the same test gives the same curve
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
        raise TrainingError(f"range test: the loss is {losses[0]} before anything is learned, expected a number")
    return RangeTest(tuple(rates[: len(losses)]), tuple(losses), tuple(smoothed))


def _shares(optimizer: torch.optim.Optimizer) -> list[float]:
    """Each group's learning rate as a share of the first's."""
    peaks = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    return [peak / peaks[0] for peak in peaks]


def _step(
    module: pl.LightningModule, batch: Any, number: int, optimizer: torch.optim.Optimizer, session: Session
) -> float:
    """The loss before the step."""
    batch = change_tensors(batch, lambda tensor: tensor.to(session.device))
    with session.autocast():
        told: Any = module.training_step(batch, number)
    loss = told["loss"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _average(loss: float, smoothed: list[float], losses: list[float]) -> float:
    """Exponential moving average without the bias towards its start (Kingma & Ba 2015, section 3)."""
    count = len(losses)
    past = smoothed[-1] * (1 - SMOOTHING ** (count - 1)) if smoothed else 0.0
    return (SMOOTHING * past + (1 - SMOOTHING) * loss) / (1 - SMOOTHING**count)
