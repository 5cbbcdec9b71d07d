"""Stages that were recorded and are not in the graph are named."""

from __future__ import annotations

from flows.reproduction.recorded_stages import unplanned_note


def test_recorded_stages_that_do_not_run_are_named() -> None:
    recorded = {"former": {}, "older": {}}
    assert unplanned_note(recorded, ["former", "average"]) == [
        "recorded, but not in the clone's graph, and not compared: older"
    ]
    assert unplanned_note(recorded, ["older", "former"]) == []
