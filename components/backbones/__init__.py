"""Architectures: one a file; each builds an `Encoder` and states what suits it on a CPU.

A backbone's `Config` has `kind`, `cpu` and `build`; torch is imported inside `build` only, so that settings
can be read without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from components.encoder import Encoder


@dataclass(frozen=True)
class CpuProfile:
    """The number format and memory layout that train this backbone fastest on a CPU, as measured."""

    precision: Literal["32-true", "bf16-mixed"]
    channels_last: bool


class Backbone(Protocol):
    """What pretraining and fine-tuning need of an architecture."""

    kind: str

    @property
    def cpu(self) -> CpuProfile:
        """What suits this backbone on a CPU."""

    def build(self) -> Encoder:
        """The architecture with freshly drawn random weights."""
