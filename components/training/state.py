"""The state of a training: with the module, optimizer and schedule, all that a resume state must contain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from components.training.batches import BatchPart, generator
from components.training.history import History
from components.training.session import Session
from components.training.step_terms import StepTerms

STREAM = 1
"""Keeps these draws apart from other random numbers of the same seed and epoch."""


@dataclass(kw_only=True, eq=False)
class TrainingState:
    """The epochs so far, and the steps of the current one."""

    history: History
    step: int = 0
    """Complete steps of the current epoch."""
    terms: StepTerms = field(default_factory=StepTerms)
    """Of the current epoch."""
    part: BatchPart = field(init=False)
    """This device's part of the batch that is being computed; not in a resume state."""

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 0."""
        return len(self.history.rows)

    @property
    def place(self) -> str:
        """`epoch 2, step 3`, counted from 1."""
        return f"epoch {self.epoch + 1}, step {self.step + 1}"

    def reseed(self, session: Session) -> None:
        """Seed dropout and posterior samples for the current step, so that no generator's state need be saved."""
        key = (session.seed, self.epoch, self.step, session.rank, STREAM)
        seed = int(generator(*key).integers(2**63))
        if session.device == "cpu":
            torch.default_generator.manual_seed(seed)  # without a GPU torch.manual_seed keeps each caller's traceback
        else:
            torch.manual_seed(seed)

    def start_next_epoch(self) -> None:
        """Forget the steps of the epoch that has ended."""
        self.step, self.terms = 0, StepTerms()

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors for the resume state."""
        return {
            "history": self.history.rows,
            "best_epoch": self.history.best,  # from 0, as in the resume states of earlier versions
            "best_state": self.history.best_state,
            "step": self.step,
            "terms": self.terms.values,
            "rates": self.terms.rates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.history.rows = state["history"]
        self.history.best, self.history.best_state = state["best_epoch"], state["best_state"]
        self.step = state["step"]
        self.terms = StepTerms(values=state["terms"], rates=state["rates"])
