"""The conditions that all arms share: all that a fine-tuning depends on besides encoder, data and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from components.base.run_id import FinetuneProtocol
from components.training.settings import Augment, Finetune, Schedule


@dataclass(frozen=True)
class Phase:
    """A part of a fine-tuning with its own schedule, in which the head alone or the whole classifier is trained."""

    trains: Literal["head", "all"]
    schedule: Schedule

    @property
    def name(self) -> str:
        """`frozen` or `full`, the protocol that trains the same part; in progress lines and resume folders."""
        return str(FinetuneProtocol.FROZEN if self.trains == "head" else FinetuneProtocol.FULL)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The settings of fine-tuning, with the classes and the phases of one protocol."""

    classes: Sequence[str]
    phases: Sequence[Phase]
    """In order; each starts from the best epoch of the one before."""
    augment: Augment
    finetune: Finetune

    @property
    def trains_encoder(self) -> bool:
        """True where any phase trains the encoder."""
        return any(phase.trains == "all" for phase in self.phases)


def build_conditions(
    protocol: FinetuneProtocol, *, classes: Sequence[str], augment: Augment, finetune: Finetune
) -> Conditions:
    """The conditions of one protocol."""
    return Conditions(classes=classes, phases=plan_phases(protocol, finetune), augment=augment, finetune=finetune)


def plan_phases(protocol: FinetuneProtocol, finetune: Finetune) -> list[Phase]:
    """The phases of a protocol in order: one, or for lpft the head and then the whole classifier."""
    match protocol:
        case FinetuneProtocol.FROZEN:
            return [Phase("head", finetune.frozen)]
        case FinetuneProtocol.FULL:
            return [Phase("all", finetune.full)]
        case FinetuneProtocol.LPFT:
            return [Phase("head", finetune.lpft.head), Phase("all", finetune.lpft.full)]
