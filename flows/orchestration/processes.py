"""Processes of stages: started, their output read, stopped at a deadline, and none left running after the flow."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from uuid import uuid4

import psutil
from filelock import FileLock, Timeout

from components.base.errors import RunError

STATE = Path(".dvc/tmp/dermflow")  # ignored by git; each checkout has its own
NUMBER = "checkout"  # the file there with a random number
GRACE_S = 20.0  # seconds in which a stage that is stopped can write its state and close its MLflow run

# Beginnings of DVC's hints for interactive use, which are left out of logs.
DVC_HINTS = (
    "To track the changes",
    "git add",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
    "Updating lock file",
    "Generating lock file",
)


class Processes:
    """The child processes of one pipeline run."""

    def __init__(self) -> None:
        self._running: dict[str, int] = {}
        self._lock = threading.Lock()
        self.stopping = False

    def run(
        self,
        stage: str,
        command: list[str],
        *,
        environment: Mapping[str, str],
        deadline_s: float,
        on_line: Callable[[str], None],
        folder: Path | None = None,
    ) -> None:
        """Run a command to its end.

        Args:
            stage: its name in messages.
            command: program and arguments.
            environment: variables added to those of this process.
            deadline_s: seconds after which the process and all its children are stopped.
            on_line: called with every line of stdout and stderr, without the line break.
            folder: where the command runs; the current folder by default.

        Raises:
            RunError: where the command fails, takes longer than the deadline, or the whole run is being stopped.
        """
        if self.stopping:
            raise RunError(f"{stage}: not started, the run is being stopped")
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with self._lock:
            self._running[stage] = process.pid
        late = threading.Timer(deadline_s, stop_tree, [process.pid])
        late.start()
        began = time.monotonic()
        last: deque[str] = deque(maxlen=12)
        try:
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    on_line(line.rstrip())
                    last.append(line)
            code = process.wait()
        except BaseException:  # Ctrl-C where this is the main thread
            stop_tree(process.pid)
            raise
        finally:
            late.cancel()
            with self._lock:
                self._running.pop(stage, None)
        if time.monotonic() - began >= deadline_s:
            raise RunError(
                f"{stage}: stopped at its deadline of {deadline_s:g} s (deadline_s in flows/orchestration/policy.toml)"
            )
        if self.stopping:
            raise RunError(f"{stage}: stopped with the run")
        if code != 0:
            raise RunError(f"{stage} failed with exit status {code}:\n{''.join(last)}")

    def stop_all(self) -> None:
        """Stop all child processes; from now on none is started."""
        self.stopping = True
        with self._lock:
            pids = list(self._running.values())
        stoppers = [threading.Thread(target=stop_tree, args=[pid]) for pid in pids]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join()


def stop_tree(pid: int) -> None:
    """Stop a process and all its descendants: SIGTERM first, SIGKILL after `GRACE_S`.

    SIGTERM goes to the descendants alone, so that the parent (DVC) sees the stage end and frees its locks.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        below = root.children(recursive=True)
        for process in below or [root]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs([root, *below], timeout=GRACE_S)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=5)


@contextmanager
def only_run(kinds: Iterable[str]) -> Iterator[None]:
    """Hold the lock of this checkout.

    Args:
        kinds: names of the stages, as in `flows/<kind>.py`.

    Raises:
        RunError: where another run holds the lock, or a stage of a killed run still works here.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    lock = FileLock(STATE / "run.lock", timeout=0)
    holder = STATE / "run.pid"
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another run (process {_read(holder)}) works in this checkout: wait for it, or stop it with "
            "Ctrl-C or `kill`; two studies at once need two clones"
        ) from None
    try:
        refuse_survivors(kinds)
        holder.write_text(str(os.getpid()))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return "unknown"


@dataclass(frozen=True)
class ActiveRun:
    """The run that holds the lock of this checkout."""

    pid: int
    since: str
    """Local time, as in `2026-11-30 19:02`."""
    stages: tuple[str, ...]
    """Addresses of the stages that work at this moment."""


def active_run() -> ActiveRun | None:
    """The run that works in this checkout now; None where none does."""
    try:
        process = psutil.Process(int((STATE / "run.pid").read_text()))
        with FileLock(STATE / "run.lock", timeout=0):
            return None  # a killed run left its number
    except Timeout:
        pass
    except (OSError, ValueError, psutil.Error):
        return None
    try:
        commands = [_command(child) for child in process.children(recursive=True)]
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(process.create_time()))
    except psutil.Error:
        return None
    mark = "--single-item"
    stages = tuple(command[command.index(mark) + 1] for command in commands if mark in command[:-1])
    return ActiveRun(process.pid, since, stages)


def _command(process: psutil.Process) -> list[str]:
    """Its words; none where it has ended in the meantime."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def refuse_survivors(kinds: Iterable[str], folder: Path | None = None) -> None:
    """Refuse to start while a stage's process of a killed run still works in a folder, by default the current one.

    A run that is killed with SIGKILL cannot stop its children, and two trainings of one stage would overwrite each
    other's output.

    Raises:
        RunError: with the process id of the stage.
    """
    modules = {f"flows.{kind}" for kind in kinds}
    here = str((folder or Path.cwd()).resolve())
    for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.info["cwd"] == here and "-m" in words and modules & set(words):
            raise RunError(
                f"{' '.join(words[words.index('-m') + 1 :])} still works in {here} as process {process.pid}; it is "
                f"of a run that was killed or of a `dvc repro`: wait for it, or end it with `kill {process.pid}`"
            )


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Within the block SIGTERM (`kill`, a scheduler's cancel) raises KeyboardInterrupt, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def end_at_second_interrupt() -> Iterator[None]:
    """Within the block a second Ctrl-C kills all processes below this one, and this one with exit status 130.

    The first Ctrl-C lets stages write their state and close their MLflow runs. After the second the next run of the
    checkout closes them.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, as under nohup, or someone else's
        yield
        return
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            print("stopping; Ctrl-C again kills all at once", file=sys.stderr, flush=True)  # noqa: T201  # to a person
            signal.default_int_handler(number, frame)
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        os._exit(130)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def checkout_id() -> str:
    """A unique id of this checkout on this host, 16 hexadecimal characters, from which neither can be read.

    It hashes host name, path and a random number in the checkout. Host and path alone are equal in two containers of
    one image, and a copied folder has the random number of the first.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    number, places = STATE / NUMBER, STATE / "places"
    here = str(Path.cwd())
    with FileLock(STATE / "checkout.lock"):
        if not number.exists():
            number.write_text(uuid4().hex)
        if here not in _lines(places):
            with places.open("a") as file:
                file.write(f"{here}\n")
    return _hash_place(here, number.read_text())


def former_ids() -> list[str]:
    """Ids that this checkout had before it was moved; none for a copy, whose original still works under its own."""
    number = (STATE / NUMBER).read_text()
    return [
        _hash_place(place, number)
        for place in _lines(STATE / "places")
        if place != str(Path.cwd()) and _lines(Path(place) / STATE / NUMBER) != [number]
    ]


def _hash_place(folder: str, number: str) -> str:
    return hashlib.sha256(f"{platform.node()}\n{folder}\n{number}".encode()).hexdigest()[:16]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def venv_path() -> str:
    """PATH with this interpreter's folder first, so that dvc.yaml's `python` and `dvc` belong to this environment."""
    here = str(Path(sys.executable).parent)
    return os.pathsep.join([here, os.environ.get("PATH", "")])
