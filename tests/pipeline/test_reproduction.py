"""A flow and one of its trainings are reproduced in fresh clones to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.conftest import Checkout

pytestmark = pytest.mark.thorough
CHANGED = "components/statistics/metrics/accuracy.py"


def test_a_flow_and_a_training_are_reproduced_to_the_last_bit(
    new_checkout: Callable[[], Checkout], tmp_path: Path
) -> None:
    checkout = new_checkout()
    checkout.use("finetune.batch_size=8")  # beyond the commit
    with (checkout.folder / CHANGED).open("a") as file:
        file.write("\n# not committed\n")
    checkout.flow()
    for run, stages in (("finetune@random-frozen-0", 8), ("pipeline demo", checkout.lock().count("cmd: "))):
        into = tmp_path / run.replace(" ", "-")
        output = checkout.run("-m", "flows.commands.cli", "reproduce", run, "--into", str(into)).stdout
        assert f"of {stages} stages compared, the same to the last bit" in output
        assert f"were applied from the run's code.diff: {CHANGED}" in output
        report = json.loads((into / "reproduction.json").read_text())
        assert (report["verdict"], report["unrecorded"], report["versions"]) == ("equal", [], [])
    assert (tmp_path / "pipeline-demo" / "dvc.lock").read_text() == checkout.lock()
