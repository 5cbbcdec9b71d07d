"""Scheduled runs on this host: Prefect's server on 127.0.0.1, and a runner that starts one run at a time."""

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

START_TIMEOUT_S = 120
"""Seconds in which a server must answer after its start."""


def serve(cron: str, port: int) -> None:
    """Run the pipeline on a schedule until Ctrl-C.

    Args:
        cron: the schedule, five fields as in crontab.
        port: of Prefect's server on 127.0.0.1; a server that runs there is used, else one is started.

    Raises:
        RunError: where the schedule is not valid or the server does not start.
    """
    check_cron(cron)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    with prefect_server(port):
        from flows.pipeline import pipeline  # after the address is set: Prefect reads it once, when imported

        # limit=1: a run that is due while another one works waits; the checkout's lock refuses runs of other processes.
        pipeline.serve(name=NAME, cron=cron, limit=1, print_starting_message=True)


def check_cron(cron: str) -> None:
    """Raise RunError where Prefect cannot read the schedule, before a server is started."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=cron)
    except ValidationError as error:
        raise RunError(f"--cron {cron!r} is not a cron schedule, such as '0 3 * * *' (every night at three)") from error


@contextmanager
def prefect_server(port: int) -> Iterator[None]:
    """A Prefect server on 127.0.0.1 during the block; one that was started here is stopped afterwards."""
    if _answers(port):
        yield
        return
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_until_ready(server, port)
        yield
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while not _answers(port):
        if server.poll() is not None or time.monotonic() > until:
            raise RunError(
                f"Prefect's server did not start at 127.0.0.1:{port}; if another program uses this port, set --port"
            )
        time.sleep(0.5)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
