"""The conditions that all arms share: all that a fine-tuning depends on besides encoder, data and seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic_core import to_jsonable_python

from components.base.keys import flat_keys
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

    def describe(self) -> list[str]:
        """Every setting as `key = value`, keys as in params.yaml: what all arms of a protocol and seed must share.

        The schedules are those of this protocol's phases; the other protocols' schedules are never read. Nothing else
        is left out, though some settings have no effect beside others (`focal_gamma` without focal loss): DVC repeats
        all arms after any change, so that a difference always shows that arms were not trained together.
        """
        schedules = set(FinetuneProtocol)  # fields of Finetune, one a protocol
        used = {
            "classes": list(self.classes),
            "phases": {f"{phase.name}": phase.schedule for phase in self.phases},
            "augment": self.augment,
            "finetune": self.finetune.model_dump(exclude={str(name) for name in schedules}),
        }
        return describe_settings(to_jsonable_python(used))


def describe_settings(settings: Mapping[str, object]) -> list[str]:
    """Nested settings as lines `key = value`, values as JSON.

    >>> describe_settings({"head": {"hidden": 8}, "clip": None})
    ['head.hidden = 8', 'clip = null']
    """
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in flat_keys(settings, ".").items()]


def lines_sha256(lines: Sequence[str]) -> str:
    """Hash of lines of text."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


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
