"""Runs on a schedule, all on this host: Prefect's server on loopback, and a runner that refuses to overlap."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from components.base.errors import RunError

NAME = "scheduled"


def serve(cron: str, port: int) -> None:
    """Serve the pipeline until Ctrl-C; a server that answers at the port is used, else one is started."""
    check_cron(cron)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    with prefect_server(port):
        from flows.pipeline import pipeline  # after the address is set: prefect reads it once

        # limit=1: a run that is due while another works waits; a run of another process is refused by its lock.
        pipeline.serve(name=NAME, cron=cron, limit=1, print_starting_message=True)


def check_cron(cron: str) -> None:
    """Refuse what no scheduler understands, before a server is started."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=cron)
    except ValidationError as error:
        raise RunError(f"--cron {cron!r} is no cron line, such as '0 3 * * *' (every night at three)") from error


@contextmanager
def prefect_server(port: int) -> Iterator[None]:
    """A Prefect server on 127.0.0.1, ended with the block when it was started here."""
    if _answers(port):
        yield
        return
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        _await(server, port)
        yield
    finally:
        server.terminate()
        server.wait(timeout=30)


def _await(server: subprocess.Popen[bytes], port: int, patience_s: float = 120) -> None:
    until = time.monotonic() + patience_s
    while not _answers(port):
        if server.poll() is not None or time.monotonic() > until:
            raise RunError(
                f"Prefect's server did not start at 127.0.0.1:{port}; is the port taken? --port names another"
            )
        time.sleep(0.5)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
