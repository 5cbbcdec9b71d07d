"""A process that has loaded the libraries of the stages, and forks for each stage: `flows.warm_start` asks it to.

To import torch, MLflow and the rest takes most stages longer than their work. This process imports them once, and none
of this repository's own code. It has one thread and uses no library, so that a forked process is in the state of a
fresh one that has imported the same: no pool of threads, no device, no database. A forked process that is killed, runs
out of memory or leaks leaves nothing here.

It runs as long as its standard input is open, the pipe of the process that started it, and until the stages that it
started have ended. Linux alone has what this needs.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NoReturn

from flows.orchestration.processes import STATE
from flows.warm_start import LENGTH_BYTES, VARIABLE, peer_user, read_early

LIBRARIES = (
    "numpy",
    "pandas",
    "pydantic",
    "ruamel.yaml",
    "filelock",
    "psutil",
    "cv2",
    "PIL.Image",
    "pyarrow.parquet",
    "safetensors.numpy",
    "mlflow.tracking",
    "mlflow.artifacts",
    "mlflow.store.tracking.sqlalchemy_store",
    "dvc.repo",
    "jinja2",
    "markdown_it",
    "scipy.stats",
    "scipy.sparse.csgraph",
    "scipy.ndimage",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "sklearn.decomposition",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.neighbors",
    "torch",
    "torch.optim.swa_utils",
    "safetensors.torch",
    "torchvision",
    "timm",
    "pytorch_lightning",
    "albumentations",
    "pandera.pandas",
    "captum.attr",
    "lightly.loss.ntx_ent_loss",
    "lightly.models.modules.heads",
)
"""Loaded in this order. Without an entry a stage loads it itself; one that starts a thread must not be here."""

LOG = "warm_server.log"
"""What the server itself prints: why it ended, where it should not have."""

OWN = ("flows", "components")
KEPT = "flows.deferred_imports"
"""Knows the placeholder that it put among the libraries."""

REQUEST_S = 10.0


@contextmanager
def warm_server(environment: Mapping[str, str], libraries: Iterable[str] = LIBRARIES) -> Iterator[dict[str, str]]:
    """A server during the block; stages start by themselves until it has loaded the libraries.

    Args:
        environment: variables of the stages, added to those of this process.
        libraries: modules that it loads.

    Yields:
        The variable that tells stages of it; empty where there is another server already, or none can be.
    """
    if os.environ.get(VARIABLE) or sys.platform != "linux":
        yield {}
        return
    name = f"dermflow-{uuid.uuid4().hex}"
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / LOG).open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, name, *libraries], stdin=subprocess.PIPE,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **environment},
        )  # fmt: skip
    assert process.stdin is not None
    try:
        yield {VARIABLE: name}
    finally:
        process.stdin.close()
        process.wait()


@contextmanager
def warm_from_second_stage(environment: Mapping[str, str]) -> Iterator[Callable[[], dict[str, str]]]:
    """As `warm_server`, but started where a second stage needs it: for one alone it would load more than that does.

    Args:
        environment: as of `warm_server`.

    Yields:
        A function to call for each stage that starts; it returns the variable to add to those of the stage.
    """
    started, lock, found = 0, threading.Lock(), dict[str, str]()
    with ExitStack() as held:

        def variables() -> dict[str, str]:
            nonlocal started, found
            with lock:
                started += 1
                if started == 2:
                    found = held.enter_context(warm_server(environment))
                return found

        yield variables


class Server:
    """Waits for requests, forks, and tells each asker how its process ended."""

    def __init__(self, name: str, libraries: Iterable[str]) -> None:
        self.environment = dict(os.environ)
        """As it was before libraries added variables."""
        self._name, self._libraries = name, libraries
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._children: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> process and its asker
        self._starter_lives = True

    def run(self) -> dict[str, Any] | None:
        """Serve until the starter is gone and all forked processes have ended.

        Returns:
            The request that a forked process is to answer; None in the server itself, at its end.
        """
        self._selector.register(0, selectors.EVENT_READ, self._close)
        if not self._load():
            return None
        gc.freeze()  # the collector of a forked process would copy the memory that it only looks at
        self._listener.bind(f"\0{self._name}")
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        while self._starter_lives or self._children:
            for key, _ in self._selector.select():
                if self._selector.get_map().get(key.fd) is not key:  # another event of this round has ended it
                    continue
                request = key.data()
                if request is not None:
                    return dict(request)
        return None

    def _load(self) -> bool:
        """Import the libraries; False where the starter is gone meanwhile."""
        for name in self._libraries:
            if self._selector.select(0):
                return False
            with contextlib.suppress(ImportError):  # the stage that needs it says so
                importlib.import_module(name)
        return True

    def _close(self) -> None:
        """The starter is gone: take no further requests."""
        self._starter_lives = False
        self._selector.unregister(0)
        self._selector.unregister(self._listener)
        self._listener.close()

    def _accept(self) -> dict[str, Any] | None:
        """Fork for one request; returns it in the forked process, None in the server."""
        asker, _ = self._listener.accept()
        asker.settimeout(REQUEST_S)
        files: list[int] = []
        try:
            if peer_user(asker) != os.getuid():
                raise OSError("another user asks")
            length, files, _, _ = socket.recv_fds(asker, LENGTH_BYTES, 3)
            request = dict(json.loads(_read(asker, int.from_bytes(length, "big"))))
            if refused := self._refusal(request):
                raise OSError(refused)
            pid, watched = self._fork()
        except (OSError, ValueError) as error:  # with too many processes or open files, or an old kernel, of `_fork`
            _send(asker, {"refused": str(error)})
            _close_all(files)
            asker.close()
            return None
        if pid == 0:
            self._forget(asker)
            _take(files)
            return request
        _close_all(files)
        asker.settimeout(None)
        self._children[watched] = (pid, asker)
        self._selector.register(watched, selectors.EVENT_READ, partial(self._report, watched))
        self._selector.register(asker, selectors.EVENT_READ, partial(self._end, pid, asker))
        _send(asker, {"pid": pid})
        return None

    @staticmethod
    def _fork() -> tuple[int, int]:
        """Fork a process that leads a session of its own; it begins when it can be watched.

        Returns:
            Its number and a pidfd; in the forked process twice 0.

        Raises:
            OSError: where there is no such process, or it cannot be watched and has ended.
        """
        begins, begin = os.pipe()
        try:
            pid = os.fork()
            if pid == 0:
                os.close(begin)
                begin = -1
                if not os.read(begins, 1):
                    os._exit(0)
                os.setsid()
                return 0, 0
            try:
                watched = os.pidfd_open(pid)
            except OSError:
                os.close(begin)
                begin = -1
                os.waitpid(pid, 0)
                raise
            os.write(begin, b"1")
            return pid, watched
        finally:
            _close_all(each for each in (begins, begin) if each != -1)

    def _refusal(self, request: Mapping[str, Any]) -> str:
        """Why a process forked here would not be as one that starts by itself; empty where it would."""
        if request["executable"] != sys.executable:
            return "another interpreter"
        before, after, asked = map(read_early, (self.environment, os.environ, request["environment"]))
        names = sorted(
            name
            for name in before.keys() | asked.keys()
            if asked.get(name) not in (before.get(name), after.get(name))  # libraries set some when imported
        )
        return f"other values of {', '.join(names)}" if names else ""

    def _report(self, watched: int) -> None:
        """Tell an asker how its process ended."""
        pid, asker = self._children.pop(watched)
        _, status = os.waitpid(pid, 0)
        self._selector.unregister(watched)
        with contextlib.suppress(KeyError):
            self._selector.unregister(asker)
        os.close(watched)
        _send(asker, {"status": os.waitstatus_to_exitcode(status)})
        asker.close()

    def _end(self, pid: int, asker: socket.socket) -> None:
        """An asker says nothing after its request, so it was killed: its process ends likewise."""
        self._selector.unregister(asker)
        os.kill(pid, signal.SIGKILL)  # not yet waited for, so the number is its own
        with contextlib.suppress(ProcessLookupError, PermissionError):  # all are gone, or it has not begun
            os.killpg(pid, signal.SIGKILL)  # its own children, such as other ranks of a training

    def _forget(self, asker: socket.socket) -> None:
        """Close in a forked process what belongs to the server."""
        self._selector.close()
        for connection in (self._listener, asker, *(other for _, other in self._children.values())):
            connection.close()
        _close_all(self._children)


def _close_all(files: Iterable[int]) -> None:
    for file in files:
        os.close(file)


def _read(asker: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        part = asker.recv(length - len(content))
        if not part:
            raise OSError("the asker ended")
        content += part
    return content


def _send(asker: socket.socket, answer: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # it was killed
        asker.sendall(json.dumps(answer).encode() + b"\n")


def _take(files: list[int]) -> None:
    """Make the asker's files this process's standard input, output and error."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    _close_all(files)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=stream.isatty() or stream is sys.stderr)  # type: ignore[union-attr]  # text


def _become(request: Mapping[str, Any], before: Mapping[str, str]) -> None:
    """Give a forked process the asker's state.

    Args:
        request: what `flows.warm_start` sent.
        before: the server's variables before it loaded libraries, which add some.
    """
    os.chdir(request["folder"])
    os.umask(request["umask"])
    added = {name: value for name, value in os.environ.items() if name not in before}
    os.environ.clear()
    os.environ.update({**added, **request["environment"]})
    time.tzset()
    tempfile.tempdir = None
    os.setpriority(os.PRIO_PROCESS, 0, request["nice"])
    os.sched_setaffinity(0, request["cores"])
    for name, limits in request["limits"].items():
        resource.setrlimit(getattr(resource, name), tuple(limits))
    sys.argv[1:] = request["arguments"]
    sys.orig_argv[:] = request["orig_argv"]
    sys.path[:] = request["path"]
    sys.path_importer_cache.clear()
    for name in [name for name in sys.modules if name.split(".")[0] in OWN and name != KEPT]:
        del sys.modules[name]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # as in a process of its own; `random` does so itself


def main() -> None:
    """Serve; a forked process goes on as the stage that it was asked for."""
    _, name, *libraries = sys.argv
    os.chdir("/")
    server = Server(name, libraries)
    request = server.run()
    if request is None:
        return
    _become(request, server.environment)
    _end(_run(request["module"]))


def _run(module: str) -> int:
    """Run a module as `python -m` does, and return the status with which that would end, negative for a signal."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        sys.stderr.write(f"{error.code}\n")
        return 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _end(status: int) -> NoReturn:
    """End a forked process as those of `multiprocessing` end: what was registered for the end runs, then nothing else.

    To take down every library, of which most were not used, takes a second or two.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does at its end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main()
