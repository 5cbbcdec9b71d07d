"""The history of a training: one row per epoch, and the weights of the best epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

EpochRow = dict[str, float]
"""One row of the curve, such as {"fit/loss": 0.7, "val/loss": 0.8}."""


@dataclass(kw_only=True, eq=False)
class History:
    """The rows so far, and the best epoch by one column of them."""

    monitor: str | None
    """The column that chooses the best epoch; None: the last epoch is the best."""
    mode: Literal["min", "max"]
    """Whether the lowest or the highest value is the best."""
    patience: int | None
    """Epochs without a better value after which training stops; None: it does not stop early."""
    rows: list[EpochRow] = field(default_factory=list)
    best: int = 0
    """Index in `rows` of the best epoch."""
    best_state: dict[str, Tensor] = field(default_factory=dict)
    """The module's state dict at the best epoch, on the CPU."""

    @property
    def is_out_of_patience(self) -> bool:
        """True after `patience` epochs without a better value."""
        return self.patience is not None and len(self.rows) - 1 - self.best >= self.patience

    def add(self, row: EpochRow, module: nn.Module) -> None:
        """Append an epoch's row, and copy the module's weights where it is the best so far."""
        self.rows.append(row)
        if self._is_best(row):
            self.best = len(self.rows) - 1
            self.best_state = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}

    def _is_best(self, row: EpochRow) -> bool:
        """On a tie the earlier epoch stays the best."""
        if self.monitor is None or not self.best_state:
            return True
        new, old = row[self.monitor], self.rows[self.best][self.monitor]
        return new < old if self.mode == "min" else new > old
