"""A stage's process is heard, stopped at its deadline, and never left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from components.base.errors import RunError
from flows.orchestration.processes import Processes, only_run, refuse_survivors, stop_tree

NESTED = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"


def below() -> set[psutil.Process]:
    """All that descends from this process; other tests may have left helpers, such as multiprocessing's tracker."""
    return set(psutil.Process().children(recursive=True))


def test_lines_are_handed_on_and_failure_shows_the_last() -> None:
    heard: list[str] = []
    with pytest.raises(RunError, match=r"split failed with exit status 3:\nfirst\nthe reason"):
        Processes().run(
            "split", [sys.executable, "-c", "print('first'); print('the reason'); exit(3)"], {}, 30, heard.append
        )
    assert heard == ["first", "the reason"]


def test_a_deadline_ends_the_whole_tree() -> None:
    began, before = time.monotonic(), below()
    with pytest.raises(
        RunError, match=r"pack: stopped at its deadline of 1 s \(deadline_s in flows/orchestration/policy.toml\)"
    ):
        Processes().run("pack", [sys.executable, "-c", NESTED], {}, 1, lambda line: None)
    assert time.monotonic() - began < 15
    assert not below() - before


def test_stopping_ends_what_runs_and_starts_nothing_more() -> None:
    processes, before = Processes(), below()
    caught: list[BaseException] = []

    def work() -> None:
        try:
            processes.run("finetune", [sys.executable, "-c", NESTED], {}, 60, lambda line: None)
        except RunError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while len(below() - before) < 2:
        time.sleep(0.05)
    processes.stop_all()
    thread.join(timeout=20)
    assert len(caught) == 1
    assert not below() - before
    with pytest.raises(RunError, match="not started, the run is being stopped"):
        processes.run("compare", [sys.executable, "-c", ""], {}, 60, lambda line: None)


def test_a_second_run_in_the_same_checkout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    second = "from flows.orchestration.processes import only_run\nwith only_run([]): pass"
    with only_run(["split"]):
        other = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, check=False)
    assert "another run (process" in other.stderr
    assert "is going on in this checkout" in other.stderr
    assert subprocess.run([sys.executable, "-c", second], check=False).returncode == 0


def test_a_stage_that_outlived_its_run_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").touch()
    (tmp_path / "flows" / "finetune.py").write_text("import time; time.sleep(60)")
    survivor = subprocess.Popen([sys.executable, "-m", "flows.finetune", "vae"])
    try:
        time.sleep(0.5)
        with pytest.raises(RunError, match=rf"flows.finetune vae still works here as process {survivor.pid}"):
            refuse_survivors(["split", "finetune"])
        refuse_survivors(["split"])
    finally:
        stop_tree(survivor.pid)
        survivor.wait()
    refuse_survivors(["finetune"])
