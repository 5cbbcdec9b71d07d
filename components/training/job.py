"""The arguments of one training that do not change while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from components.base.log import Log
from components.training.history import EpochRow
from components.training.session import Session


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One training, as `components.training.loop.fit` describes its arguments."""

    what: str
    batches: Callable[[int], Iterable[Any]]
    steps_per_epoch: int
    epochs: int
    session: Session
    log: Log
    """Silent in a process that does not lead."""
    settings: Mapping[str, str]
    """Everything that the result depends on, as flat keys and JSON values."""
    end_of_epoch: Callable[[int], EpochRow]
    gradient_clip: float | None
