"""Architectures: one a file; each builds an `Encoder` and states what suits it on a CPU.

A backbone's `Config` has `kind`, `cpu`, `expects`, `build` and `download`; torch is imported inside these
methods only, so that settings can be read without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import nn

    from components.models.encoder import Encoder


@dataclass(frozen=True)
class CpuProfile:
    """The number format and memory layout that train this backbone fastest on a CPU, as measured."""

    precision: Literal["32-true", "bf16-mixed"]
    channels_last: bool

    @classmethod
    def gains_from_bfloat16(cls) -> CpuProfile:
        """For a backbone that bfloat16 makes faster, on CPUs that calculate in it; others only emulate it."""
        from torch.cpu import _is_avx512_bf16_supported as knows_bfloat16

        return cls(precision="bf16-mixed" if knows_bfloat16() else "32-true", channels_last=True)


@dataclass(frozen=True)
class Normalisation:
    """What is taken from images in [0, 1] and what they are then divided by: red, green, blue."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Backbone(Protocol):
    """What pretraining and fine-tuning need of an architecture."""

    kind: str

    @property
    def cpu(self) -> CpuProfile:
        """What suits this backbone on a CPU."""

    @property
    def expects(self) -> Normalisation:
        """What its published ImageNet weights were trained on; the encoder itself always uses ImageNet's."""

    def build(self) -> Encoder:
        """The architecture with freshly drawn random weights."""

    def download(self) -> nn.Module:
        """The encoder's trunk with its published ImageNet weights, over the network."""
