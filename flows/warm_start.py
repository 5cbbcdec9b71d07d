"""Stages start in a process that has the libraries loaded already, where `flows.orchestration.warm_server` runs.

`python -m flows.<stage>`, as dvc.yaml has it, asks that server to fork, passes its arguments, environment, folder,
limits and open files, hands signals on, and ends as the forked process ends. Without a server, or where that one is not
fit, the stage starts in this process as ever. Only the libraries are shared: the forked process imports this
repository's own code anew, as it is then.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import socket

VARIABLE = "DERMFLOW_WARM"
"""Name of the server's socket, for the processes that DVC starts; empty or unset where there is no server."""

READ_LATE = ("DERMFLOW_", "DVC_", "GIT_", "PREFECT_")
READ_LATE_NAMES = frozenset(
    {
        "COLUMNS",
        "CUDA_VISIBLE_DEVICES",
        "LINES",
        "MLFLOW_RUN_ID",
        "MLFLOW_TRACKING_URI",
        "OLDPWD",
        "PATH",
        "PWD",
        "SHLVL",
        "_",
    }
)
"""Variables that no library reads when it is imported. All others must be those of the server."""

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
LENGTH_BYTES = 4


def hand_over() -> None:
    """End this process with the status of a forked one, where it was to run a stage; return where it must do so itself.

    Called while `flows` is imported: before anything else is.
    """
    name = os.environ.get(VARIABLE)
    if not name or sys.argv[:1] != ["-m"] or sys.orig_argv[1:2] != ["-m"]:
        return
    module = sys.orig_argv[2]
    if module != f"flows.{os.environ.get('DVC_STAGE', '').split('@')[0]}":  # DVC sets it for the commands of stages
        return
    connection = _connect(name)
    if connection is None:
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until they can be handed on
    answer = _ask(connection, module)
    if "pid" in answer:
        _follow(connection, int(answer["pid"]), before)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    sys.stderr.write(f"starts without the libraries that are loaded: {answer.get('refused', 'no answer')}\n")


def read_early(environment: Mapping[str, str]) -> dict[str, object]:
    """The variables that a library may read when it is imported; of a search path what is in it.

    cv2 adds its folder to LD_LIBRARY_PATH in each process that imports it, also where it is there already.
    """
    found: dict[str, object] = {
        name: value
        for name, value in environment.items()
        if name not in READ_LATE_NAMES and not name.startswith(READ_LATE)
    }
    found["LD_LIBRARY_PATH"] = set(environment.get("LD_LIBRARY_PATH", "").split(os.pathsep)) - {""}
    return found


def peer_user(connection: socket.socket) -> int:
    """The user id of the other side of a Unix socket."""
    import socket
    import struct

    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[1])


def _connect(name: str) -> socket.socket | None:
    """A connection to the server of this user; None where there is none, or it is still loading."""
    import socket

    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"\0{name}")
    except OSError:
        connection.close()
        return None
    if peer_user(connection) == os.getuid():
        return connection
    connection.close()
    return None


def _ask(connection: socket.socket, module: str) -> dict[str, Any]:
    """Describe this process to the server; its answer has `pid` of a forked process, or `refused`, a reason."""
    import json
    import resource
    import socket

    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    mask = os.umask(0)
    os.umask(mask)
    request = {
        "module": module,
        "arguments": sys.argv[1:],
        "orig_argv": sys.orig_argv,
        "executable": sys.executable,
        "path": sys.path,
        "folder": os.getcwd(),  # noqa: PTH109  # pathlib is not loaded yet, and what is loaded here costs every stage
        "environment": dict(os.environ),
        "umask": mask,
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "cores": sorted(os.sched_getaffinity(0)),
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in limits},
    }
    content = json.dumps(request).encode()
    try:
        socket.send_fds(connection, [len(content).to_bytes(LENGTH_BYTES, "big")], [0, 1, 2])
        connection.sendall(content)
        return receive(connection)
    except OSError:
        return {}


def receive(connection: socket.socket) -> dict[str, Any]:
    """The next answer; empty where the other side is gone."""
    import json

    line = b""
    while not line.endswith(b"\n"):
        read = connection.recv(1)
        if not read:
            return {}
        line += read
    return dict(json.loads(line))


def _follow(connection: socket.socket, pid: int, before: Iterable[int]) -> NoReturn:
    """Hand signals on to the forked process, and end as it ends; `before` are the signals that were blocked before."""
    import contextlib

    def pass_on(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in PASSED_ON:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    answer = receive(connection)
    if "status" not in answer:  # the server was killed
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        sys.stderr.write(f"the process that runs this stage ({pid}) was killed with the server that started it\n")
        os._exit(1)
    status = int(answer["status"])
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)
