"""Processes of stages: their output is read, they stop at a deadline, and none is left running."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.base.errors import RunError
from flows.orchestration.processes import Processes, checkout_id, only_run, refuse_survivors, stop_tree

NESTED = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"


def options(deadline_s: float) -> dict[str, Any]:
    return {"environment": {}, "deadline_s": deadline_s, "on_line": lambda line: None}


def below() -> set[psutil.Process]:
    """All descendants of this process; other tests can leave some, such as the tracker of multiprocessing."""
    return set(psutil.Process().children(recursive=True))


def test_lines_are_passed_on_and_a_failure_shows_the_last_ones() -> None:
    lines: list[str] = []
    with pytest.raises(RunError, match=r"split failed with exit status 3:\nfirst\nthe reason"):
        Processes().run(
            "split", [sys.executable, "-c", "print('first'); print('the reason'); exit(3)"], environment={},
            deadline_s=30, on_line=lines.append,
        )  # fmt: skip
    assert lines == ["first", "the reason"]


def test_a_deadline_ends_the_whole_tree() -> None:
    began, before = time.monotonic(), below()
    with pytest.raises(
        RunError, match=r"pack: stopped at its deadline of 1 s \(deadline_s in flows/orchestration/policy.toml\)"
    ):
        Processes().run("pack", [sys.executable, "-c", NESTED], **options(deadline_s=1))
    assert time.monotonic() - began < 15
    assert not below() - before


def test_after_a_stop_nothing_runs_and_nothing_starts() -> None:
    processes, before = Processes(), below()
    caught: list[BaseException] = []

    def work() -> None:
        try:
            processes.run("finetune", [sys.executable, "-c", NESTED], **options(deadline_s=60))
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
        processes.run("compare", [sys.executable, "-c", ""], **options(deadline_s=60))


def test_a_second_run_in_the_same_checkout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    second = "from flows.orchestration.processes import only_run\nwith only_run([]): pass"
    with only_run(["split"]):
        other = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, check=False)
    assert "another run (process" in other.stderr
    assert "works in this checkout" in other.stderr
    assert subprocess.run([sys.executable, "-c", second], check=False).returncode == 0


def test_a_stage_that_still_works_after_its_run_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").touch()
    (tmp_path / "flows" / "finetune.py").write_text("import time; time.sleep(60)")
    survivor = subprocess.Popen([sys.executable, "-m", "flows.finetune", "vae"])
    try:
        time.sleep(0.5)
        with pytest.raises(RunError, match=rf"flows.finetune vae still works in .* as process {survivor.pid}"):
            refuse_survivors(["split", "finetune"])
        refuse_survivors(["split"])
    finally:
        stop_tree(survivor.pid)
        survivor.wait()
    refuse_survivors(["finetune"])


def test_a_copied_checkout_has_another_id(toy_checkout: Path, tmp_path: Path) -> None:
    here = checkout_id()
    assert here == checkout_id() and str(toy_checkout) not in here
    shutil.copytree(toy_checkout / ".dvc" / "tmp" / "dermflow", tmp_path / ".dvc" / "tmp" / "dermflow")
    with chdir(tmp_path):
        assert checkout_id() != here
