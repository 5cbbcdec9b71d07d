"""What an architecture offers: the Protocol of components/models/backbones, and the values that it states.

A backbone is one file of that folder with a class `Config(Frozen)`. Torch is imported inside its properties and methods
only, so that settings can be read without it. The contract tests cover a new file as it is. Where its default settings
are not complete, it states `EXAMPLE`, settings by name with which the tests make a `Config`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import nn

    from components.models.encoder import Encoder


@dataclass(frozen=True)
class CpuProfile:
    """The number format and memory layout that train a backbone fastest on a CPU, as measured."""

    precision: Literal["32-true", "bf16-mixed"]
    channels_last: bool

    @classmethod
    def bfloat16_if_native(cls) -> CpuProfile:
        """Mixed bfloat16 on a CPU with instructions for it (AVX512-BF16), else float32: emulation is slower."""
        from torch.cpu import _is_avx512_bf16_supported as has_native_bfloat16  # torch 2.11 has no public name for it

        return cls(precision="bf16-mixed" if has_native_bfloat16() else "32-true", channels_last=True)


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of red, green and blue, for pixels in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Architecture(Protocol):
    """What it takes to build and run an encoder: a backbone, or what a pretraining method brings in its place."""

    kind: str

    @property
    def cpu(self) -> CpuProfile:
        """The fastest number format and memory layout on this CPU."""

    def build(self) -> Encoder:
        """The architecture with random weights, drawn from torch's global generator."""


class Backbone(Architecture, Protocol):
    """An architecture with published weights, which the settings name."""

    @property
    def expects(self) -> Normalisation:
        """The normalisation that its published ImageNet weights were trained with.

        The encoder itself always normalises with ImageNet's mean and standard deviation.
        """

    def download(self) -> nn.Module:
        """The network inside the encoder with its published ImageNet weights, from a hub over the network."""
