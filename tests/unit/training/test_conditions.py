"""The phases of each protocol."""

from __future__ import annotations

import pytest

from components.base.run_id import FinetuneProtocol
from components.training.conditions import Phase, build_conditions
from components.training.settings import HeadFirst, Schedule
from tests.unit.training.small_settings import AUGMENT, CLASSES, small_finetune

PROBE, TUNE, HEAD, REST = (Schedule(epochs=epochs, learning_rate=epochs / 100) for epochs in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("protocol", "phases", "names"),
    [
        (FinetuneProtocol.FROZEN, [Phase("head", PROBE)], ["frozen"]),
        (FinetuneProtocol.FULL, [Phase("all", TUNE)], ["full"]),
        (FinetuneProtocol.LPFT, [Phase("head", HEAD), Phase("all", REST)], ["frozen", "full"]),
    ],
)
def test_a_protocol_has_its_phases_in_order(protocol, phases, names):
    finetune = small_finetune(frozen=PROBE, full=TUNE, lpft=HeadFirst(head=HEAD, full=REST))
    conditions = build_conditions(protocol, classes=CLASSES, augment=AUGMENT, finetune=finetune)
    assert conditions.phases == phases and [phase.name for phase in conditions.phases] == names
    assert conditions.trains_encoder == (protocol != FinetuneProtocol.FROZEN)
    assert conditions.finetune is finetune, "every setting reaches the training"
