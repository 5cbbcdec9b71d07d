"""Scheduled runs with a real Prefect server: where they are registered, and what they leave."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.pipeline.conftest import Checkout, runs_of, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn(new_checkout: Callable[[], Checkout]) -> Checkout:
    """A checkout whose graph is the one stage that draws images."""
    checkout = new_checkout()
    checkout.keep_stages("synthesize")
    return checkout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def started(checkout: Checkout, *words: str, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that Ctrl-C ends after the block, if nothing ended it before."""
    process = checkout.start(*words, output=output)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(timeout=120)


def rows(port: int, kind: str, login: tuple[str, str] | None = None) -> list[dict[str, Any]]:
    """All objects of a kind that the server at the port holds, such as deployments."""
    answer = httpx.post(f"http://127.0.0.1:{port}/api/{kind}/filter", json={}, auth=login, timeout=30)
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def test_a_schedule_is_registered_and_runs_at_the_server_that_is_named(drawn: Checkout, tmp_path: Path) -> None:
    """Server and scheduler have a database each: with one for both, a run at a wrong server would be seen at both."""
    port, homes, before = free_port(), drawn.environment["PREFECT_HOME"], len(runs_of(drawn))
    zone = ("--timezone", "Asia/Tokyo")
    theirs, log = tmp_path / "server.log", tmp_path / "schedule.log"
    drawn.environment |= {"PREFECT_HOME": str(tmp_path / "server")}
    words = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with started(drawn, *words, output=theirs) as server:
        wait_until(lambda: is_up(port), server, theirs)
        drawn.environment |= {
            "PREFECT_HOME": str(tmp_path / "scheduler"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        }  # fmt: skip
        with started(
            drawn, "-m", "flows.commands.cli", "schedule", "--cron", "* * * * *", *zone, output=log
        ) as serving:
            wait_until(lambda: "COMPLETED" in [run["state_type"] for run in rows(port, "flow_runs")], serving, log)
            (deployment,) = rows(port, "deployments")
            runs = rows(port, "flow_runs")
        assert deployment["name"].startswith("scheduled-")
        (schedule,) = deployment["schedules"]
        assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("* * * * *", "Asia/Tokyo")
        (done,) = [run for run in runs if run["state_type"] == "COMPLETED"]
        due = datetime.fromisoformat(done["expected_start_time"]).astimezone(ZoneInfo("Asia/Tokyo"))
        assert done["name"] == f"demo {due:%Y-%m-%d %H:%M}"
    drawn.environment |= {"PREFECT_HOME": homes, "PREFECT_API_URL": ""}
    assert "FINISHED" in [run.info.status for run in runs_of(drawn)[: -before or None]]
