"""Prefect's servers that Dermflow starts: on 127.0.0.1, with a login, and not longer than they are needed.

A server without a login takes orders from every program of this host and from every page in a browser: Prefect checks
neither the origin nor the host that a request names. The login is in environments and in a file of this user alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from components.base.errors import RunError
from flows.orchestration.bound import bound_process
from flows.orchestration.prefect_app import HOSTS
from flows.orchestration.processes import STATE
from flows.tracking.services import HEALTH, PREFECT_VARIABLE, VERSION, Answer, ask_prefect, basic_login, require_prefect

LOGIN = "prefect-login"  # the file in STATE
LOGIN_VARIABLE = "PREFECT_API_AUTH_STRING"
START_TIMEOUT_S = 120
"""Seconds in which a server must answer after its start."""
SEND_TIMEOUT_S = 10
"""Seconds in which logs and events must be sent at the end."""
ANOTHER_PORT = "set --port to a free one"


@contextmanager
def server_of_one_run() -> Iterator[None]:
    """Within the block Prefect's client has a server: the one that is named, else one of its own without pages.

    Raises:
        RunError: where the named one does not answer or the own one does not start.
    """
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value():
        require_prefect()
        yield
        return
    listening = socket.create_server(("127.0.0.1", 0))
    # As Prefect sets them for a temporary server: no pages, and no services for schedules.
    temporary = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    with _started(listening, _new_login(), temporary):
        try:
            yield
        finally:
            _send_what_waits()


@contextmanager
def server_at(port: int) -> Iterator[str]:
    """Within the block Prefect's client uses the server at a port of 127.0.0.1; where none runs there, one is started.

    Yields:
        Where the server's pages are and how to log in, or a warning where the server asks for no login.

    Raises:
        RunError: where another program uses the port, the server there has another login, or none starts.
    """
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    named = PREFECT_API_AUTH_STRING.value()
    login = named.get_secret_value() if named else _kept_login()
    where = f"the value of {LOGIN_VARIABLE}" if named else f"the content of {STATE / LOGIN}"
    told = f"Prefect's pages: http://127.0.0.1:{port}, log in with {where}"
    listening = _listen(port)
    if listening is not None:
        with _started(listening, login, {}):
            yield told
        return
    if _is_open(port, ""):
        told = f"WARNING: the server of Prefect at 127.0.0.1:{port} asks for no login, see docs/scheduling.md"
    elif not _is_open(port, login):
        raise RunError(
            f"the server of Prefect at 127.0.0.1:{port} refuses {where}: set {LOGIN_VARIABLE} to the content of "
            f"{STATE / LOGIN} in the checkout that started it, or {ANOTHER_PORT}"
        )
    with temporary_settings({PREFECT_API_URL: _api(port), PREFECT_API_AUTH_STRING: login}):
        yield told


@contextmanager
def _started(listening: socket.socket, login: str, environment: Mapping[str, str]) -> Iterator[None]:
    """A server on a socket that is bound already, so that no other program can take the port and get the login."""
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        get_current_settings,
        temporary_settings,
    )

    port = listening.getsockname()[1]
    given = {
        **get_current_settings().to_environment_variables(exclude_unset=True),
        PREFECT_VARIABLE: _api(port),  # where its own pages find it
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{host}:{port}" for host in HOSTS),
        **environment,
    }
    words = ["uvicorn", "--factory", "flows.orchestration.prefect_app:create", "--fd", str(listening.fileno())]
    quiet = ["--log-level", "error", "--lifespan", "on"]
    with bound_process([*words, *quiet], given, [listening.fileno()]) as server:
        listening.close()
        _wait_until_ready(server, port)
        with temporary_settings({PREFECT_API_URL: _api(port), PREFECT_API_AUTH_STRING: login}):
            yield


def _send_what_waits() -> None:
    """Send logs and events that wait in this process. At its exit, without a server, Prefect would try for minutes."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=SEND_TIMEOUT_S)


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while not _answers(port):
        if server.poll() is not None or time.monotonic() > until:
            raise RunError(
                f"Prefect's server did not start at 127.0.0.1:{port}: no answer within {START_TIMEOUT_S} s, or it "
                "ended with the message above"
            )
        time.sleep(0.2)


def _listen(port: int) -> socket.socket | None:
    """A socket bound to the port; None where Prefect's server has it already.

    Raises:
        RunError: where another program has it, or this user may not bind it.
    """
    until = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise RunError(f"port {port} of 127.0.0.1: {error.strerror}; {ANOTHER_PORT}") from error
        if _answers(port):
            return None
        if time.monotonic() > until:
            raise RunError(f"another program uses port {port} of 127.0.0.1 and does not answer; {ANOTHER_PORT}")
        time.sleep(0.5)


def _answers(port: int) -> bool:
    """Whether Prefect's server answers at the port; False also while it starts.

    Raises:
        RunError: where another program does.
    """
    answer = ask_prefect(_api(port), HEALTH)
    if not isinstance(answer, Answer) or answer.status >= 500:
        return False
    if answer.status == 200 and answer.text.strip() == "true":
        return True
    raise RunError(f"another program uses port {port} of 127.0.0.1: {answer.words}; {ANOTHER_PORT}")


def _is_open(port: int, login: str) -> bool:
    """Whether the server gives what it gives only after a login, where it asks for one."""
    answer = ask_prefect(_api(port), VERSION, basic_login(login) if login else {})
    return isinstance(answer, Answer) and answer.status == 200


def _api(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"


def _new_login() -> str:
    return f"dermflow:{secrets.token_urlsafe(32)}"


def _kept_login() -> str:
    """The login of this checkout's server, in a file that only this user can read; made where it is missing."""
    STATE.mkdir(parents=True, exist_ok=True)
    path = STATE / LOGIN
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, f"{_new_login()}\n".encode())
        os.close(descriptor)
    path.chmod(0o600)  # a copy of a checkout can have other permissions
    login = path.read_text().strip()
    if not login:
        raise RunError(f"{path} is empty, expected USER:PASSWORD: delete it, and a new one is made")
    return login
