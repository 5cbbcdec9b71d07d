"""`dermflow reproduce` in a real repository under git, DVC and MLflow."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.base.errors import RunError
from flows.commands.cli import app
from flows.orchestration import processes
from flows.reproduction.report import UNEXPLAINED, is_reproduced
from flows.reproduction.reproduce import reproduce
from flows.reproduction.workspace import LEFT_OUT
from flows.settings import load_settings
from flows.tracking import mlflow_log
from flows.tracking.environment import CODE_DIFF
from flows.tracking.mlflow_log import open_client
from tests.unit.flows.toy_repository import change, command, record, repeat

# DVC 3.67 uses pygtrie in a way that pygtrie has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
    pytest.mark.usefixtures("toy_checkout"),
]


def test_a_run_of_changed_code_is_reproduced_to_the_last_bit(toy_checkout: Path, tmp_path: Path) -> None:
    """Code and settings of the run are neither those of the commit nor those of now."""
    change("flows/average.py", "/ len(lengths)", "/ len(lengths) + EXTRA")
    change("flows/average.py", "import json, os", "import json, os\nfrom flows.extra import EXTRA")
    Path("flows/extra.py").write_text("EXTRA = 0.25  # git does not know this file yet: é\n")
    change("params.yaml", "margin: 0.02", "margin: 0.03")
    run = record("average")
    command(toy_checkout, "git", "checkout", "-q", ".")
    Path("flows/extra.py").unlink()
    record("average")
    found, output = repeat(run[:12], tmp_path / "new")
    assert (found.verdict, is_reproduced(found)) == ("equal", True)
    assert "equal: 3 outputs of 2 stages compared, the same to the last bit" in output
    assert "were applied from the run's code.diff: flows/average.py, flows/extra.py" in output
    assert json.loads((tmp_path / "new" / "metrics/average.json").read_text())["of"]["mean"] == 5.25
    assert "margin: 0.03" in (tmp_path / "new" / "params.yaml").read_text()
    tags = open_client().get_run(run).data.tags
    assert re.fullmatch(r"equal, \d{4}-\d\d-\d\dT[\d:]+Z", tags["reproduced"])
    assert json.loads((tmp_path / "new" / "reproduction.json").read_text())["verdict"] == "equal"
    assert open_client().list_artifacts(run, "reproduced")
    less, output = repeat(run, tmp_path / "less", without_changes=True)
    assert (less.verdict, is_reproduced(less)) == ("differs", False)
    assert "first difference at average:" in output and f"likely: {LEFT_OUT}" in output
    assert "of/mean: 5.25 then, 5.0 now, -0.25" in output


def test_a_number_that_differs_is_named_and_last_digits_count_as_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record("average")
    monkeypatch.setenv("TOY_SHIFT", "1e-9")
    near, output = repeat(run, tmp_path / "near")
    assert (near.verdict, is_reproduced(near)) == ("equal within 1e-06", True)
    assert "metrics/average.json: numbers at most 2" in output
    monkeypatch.setenv("TOY_SHIFT", "0.5")
    far = CliRunner().invoke(app, ["reproduce", run, "--into", str(tmp_path / "far")])
    assert far.exit_code == 1
    assert "differs: 3 outputs of 2 stages compared\nfirst difference at average:" in far.output
    assert "of/mean: 5.0 then, 5.5 now, +0.5" in far.output and UNEXPLAINED in far.output
    report = json.loads((tmp_path / "far" / "reproduction.json").read_text())
    assert (report["first"], report["stages"][1]["numbers"]) == (
        "average",
        [{"name": "of/mean", "then": 5.0, "now": 5.5}],
    )


def test_nothing_is_written_outside_a_checkout(tmp_path: Path) -> None:
    with chdir(tmp_path), pytest.raises(RunError, match=rf"{tmp_path} has no params.yaml: run this in the checkout"):
        reproduce("any", into=None, without_changes=False, echo=print)
    assert not list(tmp_path.iterdir())


def test_a_run_that_cannot_be_repeated_is_refused(tmp_path: Path) -> None:
    client, settings = open_client(), load_settings()
    with pytest.raises(KeyboardInterrupt), mlflow_log.recorded_run(settings, "killed", {"stage": "average"}) as killed:
        raise KeyboardInterrupt
    with pytest.raises(RunError, match="is KILLED: it has no results to compare with"):
        repeat(killed.run_id, tmp_path / "new")
    with mlflow_log.recorded_run(settings, "pipeline demo", {"stage": "pipeline"}) as bare:
        pass
    with pytest.raises(
        RunError, match=r"has no artifact dvc.lock: there is nothing to compare with; choose a run of one of its stages"
    ):
        repeat(bare.run_id, tmp_path / "new")
    run = record("average")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(RunError, match="full: is not an empty folder; choose a new one"):
        repeat(run, tmp_path / "full")
    client.set_tag(run, CODE_DIFF, "0" * 64)
    with pytest.raises(RunError, match=r"the artifact code.diff is missing or is not the recorded one \(sha256 0000"):
        repeat(run, tmp_path / "other")
    client.delete_tag(run, CODE_DIFF)
    client.set_tag(run, "git.dirty", "true")
    with pytest.raises(
        RunError, match=r"had changes beyond commit \w+ that were not recorded.*--without-changes repeats it"
    ):
        repeat(run, tmp_path / "old")
    client.set_tag(run, "git.commit", "0" * 40)
    with pytest.raises(RunError, match=r"commit 0+ of the run is not in this repository: fetch it"):
        repeat(run, tmp_path / "far", without_changes=True)


def test_a_run_without_a_stage_in_the_graph_is_refused(tmp_path: Path) -> None:
    lock = {"stages": {name: {"outs": [{"path": f"{name}.csv", "md5": "1"}]} for name in ("former", "older")}}
    (tmp_path / "dvc.lock").write_text(json.dumps(lock))  # which is YAML, too
    with mlflow_log.recorded_run(load_settings(), "pipeline demo", {"stage": "pipeline"}) as log:
        log.artifact(tmp_path / "dvc.lock")
    with pytest.raises(RunError, match=r"none of its 2 recorded stages is in the clone's graph \(dvc.yaml of commit"):
        repeat(log.run_id, tmp_path / "new")


def test_a_stopped_reproduction_leaves_no_process_and_keeps_the_workspace(
    toy_checkout: Path, repo: Path, tmp_path: Path
) -> None:
    change(
        "flows/average.py", "lengths = ", "import time; time.sleep(float(os.environ.get('TOY_SLEEP') or 0))\nlengths = "
    )
    run, new = record("average"), tmp_path / "new"
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
        "runpy.run_module('flows.commands.cli', run_name='__main__')"
    )
    words = [sys.executable, "-P", "-c", code, str(repo), "reproduce", run, "--into", str(new)]
    given = {**os.environ, "TOY_SLEEP": "60", "PYTHONPATH": ""}
    going = subprocess.Popen(words, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 120
    while not ((new / "reproduction.log").exists() and "flows.average" in (new / "reproduction.log").read_text()):
        assert going.poll() is None and time.monotonic() < until, going.stdout
        time.sleep(0.1)
    going.send_signal(signal.SIGTERM)
    output = going.communicate(timeout=60)[0]
    assert going.returncode == 130 and f"the workspace is kept: {new}" in output
    with chdir(new):
        processes.refuse_survivors(["average", "measure"])
