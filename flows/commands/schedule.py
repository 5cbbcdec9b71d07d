"""Scheduled runs on this host: Prefect's server on 127.0.0.1, and a runner that starts one run at a time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from components.base.errors import RunError
from flows.orchestration.processes import checkout_id
from flows.tracking.mlflow_log import mlruns_folder, tracking_uri
from flows.tracking.services import Answer, ask_health, masked, require_mlflow, require_prefect

PORT = 4200  # of Prefect's server where nothing names another

START_TIMEOUT_S = 120
"""Seconds in which a server must answer after its start."""


def serve(cron: str, port: int | None) -> None:
    """Run the pipeline on a schedule until Ctrl-C.

    The server is the one that PREFECT_API_URL names, in the environment or in Prefect's profile; where none is named,
    one on this host.

    Args:
        cron: the schedule, five fields as in crontab.
        port: of Prefect's server on 127.0.0.1, None for 4200; a server that runs there is used, else one is started.

    Raises:
        RunError: where the schedule is not valid, MLflow does not answer, the server does not start, or a port is given
            besides an address.
    """
    check_cron(cron)
    require_mlflow(tracking_uri(), mlruns_folder())
    from prefect.settings import PREFECT_API_URL, temporary_settings

    address = PREFECT_API_URL.value()
    if address and port is not None:
        raise RunError(
            f"{PREFECT_API_URL.name} = {masked(address)} names Prefect's server, and --port {port} another one: leave "
            f"out --port, or unset the variable (`prefect config unset {PREFECT_API_URL.name}` where a profile has it)"
        )
    if address:
        require_prefect()
        _serve(cron)
        return
    port = PORT if port is None else port
    own = {PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}  # a variable would come too late: Prefect is imported
    with prefect_server(port), temporary_settings(own):
        _serve(cron)


def _serve(cron: str) -> None:
    from flows.pipeline import pipeline

    # limit=1: a run that is due while another one works waits; the checkout's lock refuses runs of other processes.
    pipeline.serve(name=deployment_name(), cron=cron, limit=1, print_starting_message=True)


def deployment_name() -> str:
    """Another in each checkout: with one name for two, the server would give a run of one to the other's runner."""
    return f"scheduled-{checkout_id()[:8]}"


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
    """Whether Prefect's server answers at the port.

    Raises:
        RunError: where another program does.
    """
    answer = ask_health(f"http://127.0.0.1:{port}/api")
    if not isinstance(answer, Answer):
        return False
    if answer.status == 200 and answer.text.strip() == "true":
        return True
    if answer.status >= 500:  # a server that is starting
        return False
    raise RunError(f"another program uses port {port} of 127.0.0.1: {answer.words}; set --port to a free one")
