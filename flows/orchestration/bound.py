"""A server that ends with the process that started it, however that one ended.

`python -m flows.orchestration.bound MODULE ARGUMENTS` runs a module. Its standard input is a pipe that the starter
holds open; the kernel closes it when the starter ends, after `kill -9` too. Then the module and all its children end.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from components.base.errors import RunError

STARTER = "DERMFLOW_STARTER"  # variable of a bound process: process id and start of its starter
GRACE_S = 8.0  # seconds between SIGTERM and SIGKILL


@contextmanager
def bound_process(
    words: list[str], environment: Mapping[str, str] | None = None, sockets: Collection[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python module that runs during the block, in a session of its own: Ctrl-C in the terminal does not reach it.

    Args:
        words: the module and its arguments, as after `python -m`.
        environment: variables added to those of this process.
        sockets: file descriptors that it inherits.
    """
    end_left_over()
    own = psutil.Process()
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *words], stdin=subprocess.PIPE, start_new_session=True, pass_fds=sockets,
        env={**os.environ, **(environment or {}), STARTER: f"{own.pid} {own.create_time():.0f}"},
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=GRACE_S + 5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def end_left_over() -> None:
    """Kill processes of servers whose starter is gone: something killed what was to end them."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            starter = process.environ().get(STARTER)
            if starter and process.pid != os.getpid() and not _is_alive(*map(int, starter.split())):
                process.kill()


def _is_alive(pid: int, began: int) -> bool:
    """Whether the process lives that began then, in seconds since 1970; ids of processes are used again."""
    try:
        return abs(psutil.Process(pid).create_time() - began) < 3
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Run the module that the arguments name, until it ends or the starter does.

    Raises:
        RunError: where this is not the first process of a session: others would be ended with it.
    """
    if os.getpgrp() != os.getpid():
        raise RunError(f"{__name__}: process {os.getpid()} has no session of its own, expected `bound_process`")
    pipe = os.dup(0)
    os.set_inheritable(pipe, False)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_end_with_starter, args=[pipe], daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_starter(pipe: int) -> None:
    """Wait for the end of the pipe, then end this process and all of its session."""
    while os.read(pipe, 1):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
