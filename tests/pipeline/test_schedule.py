"""Scheduled runs with a real Prefect server: where they are registered, and what they leave."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from ruamel.yaml import YAML

from tests.pipeline.conftest import REPO, Checkout, runs_of, wait_until

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


def scheduled(port: int) -> list[dict[str, Any]]:
    """The flow runs of deployments, without the flow runs within them."""
    return [run for run in rows(port, "flow_runs") if run["deployment_id"]]


def is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def check_failure(checkout: Checkout, port: int) -> None:
    """A run that fails leaves an event, which starts the automation of docs/scheduling.md."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (REPO / "docs/scheduling.md").read_text(), re.DOTALL)
    (automation,) = YAML(typ="safe").load(text)["automations"]
    assert automation["actions"][0]["type"] == "send-notification"
    automation["actions"] = [{"type": "do-nothing"}]  # a mail needs an account
    made = httpx.post(f"http://127.0.0.1:{port}/api/automations/", json=automation, timeout=30)
    assert made.status_code == 201, made.text
    graph = checkout.folder / "dvc.yaml"
    working = graph.read_text()
    graph.write_text(working.replace("cmd: python -m flows.synthesize", "cmd: python -m flows.synthesize && false"))
    assert graph.read_text() != working
    failed = checkout.flow(check=False)
    graph.write_text(working)
    assert "1 of 1 stages failed (synthesize)" in failed.stderr
    (event,) = wait_for_events(port, "dermflow.pipeline.failed")
    assert event["resource"]["prefect.resource.id"] == "dermflow.pipeline.demo"
    assert event["payload"]["error"].startswith("RunError: 1 of 1 stages failed (synthesize)")
    (triggered,) = wait_for_events(port, "prefect.automation.triggered")
    assert triggered["resource"]["prefect.resource.id"] == f"prefect.automation.{made.json()['id']}"


def wait_for_events(port: int, name: str) -> list[dict[str, Any]]:
    until = time.monotonic() + 120
    asked = {"filter": {"event": {"name": [name]}}}
    while True:
        answer = httpx.post(f"http://127.0.0.1:{port}/api/events/filter", json=asked, timeout=30)
        if found := answer.json()["events"]:
            return list(found)
        assert time.monotonic() < until, f"no event {name}"
        time.sleep(0.5)


@pytest.mark.thorough
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
            wait_until(lambda: "COMPLETED" in [run["state_type"] for run in scheduled(port)], serving, log)
            (deployment,) = rows(port, "deployments")
            runs = scheduled(port)
            reports = {each["key"]: each["data"] for each in rows(port, "artifacts/latest")}
        drawn.environment |= {"PREFECT_HOME": str(tmp_path / "flow")}
        check_failure(drawn, port)
        assert deployment["name"].startswith("scheduled-")
        assert deployment["parameters"] == {"timezone": "Asia/Tokyo", "pull": True, "propose": True}
        assert reports["dermflow-nightly"].startswith(reports["dermflow-report"].rstrip())
        assert "Nothing is proposed: no stage has made data/bundle." in reports["dermflow-nightly"]
        assert "no remote of DVC is configured: nothing is pulled" in log.read_text()
        (schedule,) = deployment["schedules"]
        assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("* * * * *", "Asia/Tokyo")
        (done,) = [run for run in runs if run["state_type"] == "COMPLETED"]
        due = datetime.fromisoformat(done["expected_start_time"]).astimezone(ZoneInfo("Asia/Tokyo"))
        assert done["name"] == f"demo {due:%Y-%m-%d %H:%M}"
    drawn.environment |= {"PREFECT_HOME": homes, "PREFECT_API_URL": ""}
    assert "FINISHED" in [run.info.status for run in runs_of(drawn)[: -before or None]]
