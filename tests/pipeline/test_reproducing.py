"""A whole flow, and one training of it, made again from nothing in fresh clones, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.conftest import Checkout

pytestmark = pytest.mark.thorough


def test_a_flow_and_a_training_come_out_the_same(new_checkout: Callable[[], Checkout], tmp_path: Path) -> None:
    checkout = new_checkout()
    checkout.use("finetune.batch_size=8")  # beyond the commit
    with (checkout.folder / "components" / "metrics" / "accuracy.py").open("a") as file:
        file.write("\n# not committed\n")
    checkout.flow()
    for run, stages in (("finetune@random-frozen-0", 7), ("pipeline demo", checkout.lock().count("cmd: "))):
        into = tmp_path / run.replace(" ", "-")
        said = checkout.run("-m", "flows.commands.cli", "reproduce", run, "--into", str(into)).stdout
        assert f"of {stages} stages compared, the same to the last bit" in said
        assert "was applied from the run's code.diff: components/statistics/metrics/accuracy.py" in said
        report = json.loads((into / "reproduction.json").read_text())
        assert (report["verdict"], report["unrecorded"], report["versions"]) == ("equal", [], [])
    assert (tmp_path / "pipeline-demo" / "dvc.lock").read_text() == checkout.lock()
