"""The command line: found from any folder of a checkout, one line outside, JSON for scripts, what runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from flows.commands import place
from flows.commands.cli import app
from flows.commands.status import PipelineState, StageState, read_answer
from flows.orchestration.processes import STATE, active_run


def dermflow(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.commands.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("command", ["run", "status", "ui", "doctor"])
def test_outside_a_checkout_a_command_ends_with_one_line_and_leaves_nothing(tmp_path: Path, command: str) -> None:
    done = dermflow(command, folder=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"dermflow: {tmp_path} is in no checkout of Dermflow: change into a clone of its repository first\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_need_no_checkout(tmp_path: Path) -> None:
    assert "Exit status" in " ".join(dermflow("-h", folder=tmp_path).stdout.split())
    assert dermflow("--version", folder=tmp_path).stdout.startswith("dermflow 0.")
    assert "--json" in dermflow("status", "-h", folder=tmp_path).stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that looks like a checkout, with an answer."""
    for name in ("presets", "reports", "docs/figures"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("paths: {reports: reports}\n")
    (tmp_path / "reports" / "answer.txt").write_text("vae against imagenet: not decided\n")
    (tmp_path / "reports" / "index.html").touch()
    monkeypatch.chdir(tmp_path / "docs" / "figures")
    yield tmp_path
    monkeypatch.setattr(place, "_START", [Path()])


def test_a_command_works_from_a_subfolder(checkout: Path) -> None:
    done = CliRunner().invoke(app, ["report", "--json"])
    assert json.loads(done.stdout) == {"answer": "vae against imagenet: not decided", "page": "reports/index.html"}


def test_a_relative_path_begins_where_the_command_was_started(checkout: Path) -> None:
    start = Path.cwd()
    place.enter_root(required=True)
    assert Path.cwd() == checkout
    assert place.given(Path("a.jpg")) == start / "a.jpg"
    assert place.given(Path("/a.jpg")) == Path("/a.jpg")


@pytest.mark.parametrize("words", [["predict", "a.jpg"], ["export", "exported", "--onnx"], ["serve", "--port", "0"]])
def test_a_folder_after_model_begins_where_the_command_was_started(
    checkout: Path, repo: Path, words: list[str]
) -> None:
    start = Path.cwd()
    (start / "mine").mkdir()
    shutil.copy(repo / "params.yaml", checkout)
    done = CliRunner().invoke(app, [*words, "--model", "mine"])
    assert done.exit_code == 1
    assert f"{start / 'mine'}: has no bundle.json" in done.output


def test_the_name_of_a_registered_model_is_no_folder(checkout: Path) -> None:
    place.enter_root(required=True)
    assert place.given_model("models:/dermflow-demo@champion") == "models:/dermflow-demo@champion"
    assert place.given_model("dermflow-demo") == "dermflow-demo"
    assert place.given_model(None) is None


def test_the_answer_names_a_broken_params_file(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    (checkout / "params.yaml").write_text("paths: [")
    with pytest.raises(Exception, match=r"params.yaml: cannot be read or has no paths.reports; `dermflow doctor`"):
        read_answer()


def test_a_run_that_works_is_named_with_its_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has the command line of a stage that DVC brings up to date."""
    monkeypatch.chdir(tmp_path)
    STATE.mkdir(parents=True)
    assert active_run() is None
    waiting = "import sys; print('up', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", waiting, "repro", "--single-item", "pretrain@vae-0"]
    lock = FileLock(STATE / "run.lock", thread_local=False)
    ended = subprocess.Popen([sys.executable, "-c", ""])  # a child that nobody has waited for has no command line
    while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.02)
    with lock, subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (STATE / "run.pid").write_text(str(os.getpid()))
        run = active_run()
        child.communicate()
    ended.wait()
    assert run is not None
    assert (run.pid, run.stages) == (os.getpid(), ("pretrain@vae-0",))
    assert active_run() is None  # the number of a run that was killed is not believed
    states = (StageState("pack", True, False, None), StageState("pretrain@vae-0", False, True, None))
    lines = PipelineState(states, run).lines()
    assert lines[:2] == ["fresh  pack", "runs   pretrain@vae-0"]
    assert lines[2].endswith("1 of 2 fresh, now pretrain@vae-0")
