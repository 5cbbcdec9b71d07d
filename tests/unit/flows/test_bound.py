"""A server ends with its starter, however that one ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from components.base.errors import RunError
from flows.orchestration import bound

SERVER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open("pids.part", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename("pids.part", "pids")
time.sleep(600)
"""
STARTER = """
import time
from flows.orchestration.bound import bound_process
with bound_process(["a_server"]):
    time.sleep(600)
"""


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def started(tmp_path: Path, repo: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """A starter, and the processes of its server: the module that was started, and a child of that one."""
    (tmp_path / "a_server.py").write_text(SERVER)
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER], cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{tmp_path}:{repo}"},
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_for((tmp_path / "pids").exists)
    server = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
    try:
        yield starter, server
    finally:
        for process in [*server, starter]:
            if isinstance(process, subprocess.Popen) or process.is_running():
                process.kill()
        starter.wait()


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_of_a_server_outlives_its_starter(
    started: tuple[subprocess.Popen[bytes], list[psutil.Process]], number: signal.Signals
) -> None:
    starter, server = started
    assert len(alive(server)) == 2
    starter.send_signal(number)
    starter.wait(timeout=60)
    wait_for(lambda: not alive(server))


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(
    started: tuple[subprocess.Popen[bytes], list[psutil.Process]],
) -> None:
    starter, server = started
    assert os.getpgid(server[0].pid) != os.getpgid(starter.pid)
    assert os.getsid(server[0].pid) != os.getsid(starter.pid)


def test_what_nothing_could_end_is_ended_by_the_next_start(
    started: tuple[subprocess.Popen[bytes], list[psutil.Process]],
) -> None:
    """Both the starter and what was to end the server are killed: the child of the server stays."""
    starter, (server, child) = started
    bound.end_left_over()
    assert len(alive([server, child])) == 2  # their starter lives
    os.kill(server.pid, signal.SIGSTOP)  # so that it cannot end its child
    starter.kill()
    starter.wait()
    server.kill()
    wait_for(lambda: not alive([server]))
    assert alive([child])
    bound.end_left_over()
    wait_for(lambda: not alive([child]))


def test_a_module_is_not_run_in_the_session_of_others() -> None:
    if os.getpgrp() == os.getpid():
        pytest.skip("this process has a session of its own")
    with pytest.raises(RunError, match="has no session of its own, expected `bound_process`"):
        bound.main()
