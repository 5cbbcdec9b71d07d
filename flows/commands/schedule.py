"""Scheduled runs on this host: Prefect's server on 127.0.0.1, and a runner that starts one run at a time."""

from __future__ import annotations

from components.base.errors import RunError
from flows.orchestration.prefect_server import server_at
from flows.orchestration.processes import checkout_id
from flows.orchestration.schedules import UTC, check_schedule
from flows.tracking.mlflow_log import mlruns_folder, tracking_uri
from flows.tracking.services import masked, require_mlflow, require_prefect

PORT = 4200  # of Prefect's server where nothing names another


def serve(cron: str, port: int | None, timezone: str = UTC, pull: bool = True, propose: bool = True) -> None:
    """Run the flow `nightly` on a schedule until Ctrl-C.

    The server is the one that PREFECT_API_URL names, in the environment or in Prefect's profile; where none is named,
    one on this host.

    Args:
        cron: the schedule, five fields as in crontab.
        port: of Prefect's server on 127.0.0.1, None for 4200; a server that runs there is used, else one is started.
        timezone: IANA name of the time zone of the schedule.
        pull: whether each run pulls missing data from DVC's remote first.
        propose: whether each run proposes its model for use.

    Raises:
        RunError: where the schedule is not valid, MLflow does not answer, the server does not start, or a port is given
            besides an address.
    """
    check_schedule(cron, timezone)
    require_mlflow(tracking_uri(), mlruns_folder())
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    if address and port is not None:
        raise RunError(
            f"{PREFECT_API_URL.name} = {masked(address)} names Prefect's server, and --port {port} another one: leave "
            f"out --port, or unset the variable (`prefect config unset {PREFECT_API_URL.name}` where a profile has it)"
        )
    if address:
        require_prefect()
        _serve(cron, timezone, pull, propose)
        return
    with server_at(PORT if port is None else port) as told:
        print(told, flush=True)  # noqa: T201  # before Prefect's own words
        _serve(cron, timezone, pull, propose)


def _serve(cron: str, timezone: str, pull: bool, propose: bool) -> None:
    from prefect.schedules import Cron

    from flows.nightly import nightly

    # limit=1: a run that is due while another one works waits; the checkout's lock refuses runs of other processes.
    nightly.serve(
        name=deployment_name(), schedule=Cron(cron, timezone=timezone), limit=1, print_starting_message=True,
        parameters={"timezone": timezone, "pull": pull, "propose": propose},
    )  # fmt: skip


def deployment_name() -> str:
    """Another in each checkout: with one name for two, the server would give a run of one to the other's runner."""
    return f"scheduled-{checkout_id()[:8]}"
