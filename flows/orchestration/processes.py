"""A stage's process: started, heard, stopped at its deadline, and never left behind."""

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
from pathlib import Path
from uuid import uuid4

import psutil
from filelock import FileLock, Timeout

from components.base.errors import RunError

STATE = Path(".dvc/tmp/dermflow")  # git ignores it, and it belongs to this checkout
GRACE_S = 20.0  # for a stage to write its state and close its MLflow run

# What DVC says to a person who runs it by hand; a log has no use for it.
CHATTER = (
    "To track the changes",
    "git add",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
    "Updating lock file",
    "Generating lock file",
)


class Processes:
    """The children of one pipeline run."""

    def __init__(self) -> None:
        self._running: dict[str, int] = {}
        self._lock = threading.Lock()
        self.stopping = False

    def run(
        self,
        stage: str,
        command: list[str],
        environment: Mapping[str, str],
        deadline_s: float,
        hear: Callable[[str], None],
        folder: Path | None = None,
    ) -> None:
        """Run a command to its end (in `folder`), handing on every line; raises RunError at failure or deadline."""
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
                    hear(line.rstrip())
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
        """Stop every child, the stages' work first, so that DVC sees the end and frees its locks."""
        self.stopping = True
        with self._lock:
            pids = list(self._running.values())
        stoppers = [threading.Thread(target=stop_tree, args=[pid]) for pid in pids]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join()


def stop_tree(pid: int) -> None:
    """End a process and all below it: leaves first and politely, then by force after a grace."""
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
    """Hold this checkout: a second run is refused, and so is one while a dead run's stage lives on."""
    STATE.mkdir(parents=True, exist_ok=True)
    lock = FileLock(STATE / "run.lock", timeout=0)
    holder = STATE / "run.pid"
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another run (process {_read(holder)}) is going on in this checkout: wait for it, or stop it with "
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


def refuse_survivors(kinds: Iterable[str]) -> None:
    """A killed run cannot stop its children, and two trainings of one stage would spoil each other's output."""
    modules = {f"flows.{kind}" for kind in kinds}
    here = str(Path.cwd())
    for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.info["cwd"] == here and "-m" in words and modules & set(words):
            raise RunError(
                f"{' '.join(words[words.index('-m') + 1 :])} still works here as process {process.pid}, of a run that "
                f"was killed or of a `dvc repro`: wait for it, or end it with `kill {process.pid}`"
            )


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """`kill`, a scheduler's cancel and Ctrl-C end alike."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def mark_checkout() -> str:
    """A name for this checkout on this host that no other has and that tells neither path nor host.

    Host and path alone may meet again in two containers; a copied folder carries the mark of the first.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    mark = STATE / "checkout"
    with FileLock(STATE / "checkout.lock"):
        if not mark.exists():
            mark.write_text(uuid4().hex)
    words = f"{platform.node()}\n{Path.cwd()}\n{mark.read_text()}"
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def venv_path() -> str:
    """PATH with this interpreter's folder first, so that `python` and `dvc` in dvc.yaml are this environment's."""
    here = str(Path(sys.executable).parent)
    return os.pathsep.join([here, os.environ.get("PATH", "")])
