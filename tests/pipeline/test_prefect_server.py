"""The server that Dermflow starts obeys its own clients alone."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    temporary_settings,
)

from components.base.errors import RunError
from flows.orchestration.prefect_server import LOGIN, server_at, server_of_one_run
from flows.orchestration.processes import STATE

pytestmark = pytest.mark.slow

FOREIGN = "https://pages.example"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a server of a checkout in the current folder; Prefect's settings in this process name it."""
    folder = tmp_path_factory.mktemp("checkout")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        free = int(listening.getsockname()[1])
    database = f"sqlite+aiosqlite:///{folder}/prefect.db"
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings(
            {PREFECT_API_URL: None, PREFECT_HOME: folder, PREFECT_SERVER_DATABASE_CONNECTION_URL: database}
        ),
    ):
        patch.chdir(folder)
        with server_at(free) as told:
            assert f"http://127.0.0.1:{free}, log in with the content of {STATE / LOGIN}" in told
            assert Path(folder / "prefect.db").exists()
            yield free


def login() -> tuple[str, str]:
    user, password = (STATE / LOGIN).read_text().strip().split(":")
    return user, password


def test_hostile_requests_are_refused(port: int) -> None:
    api = f"http://127.0.0.1:{port}/api"
    with get_client(sync_client=True) as client:
        flow = str(client.create_flow_from_name("hostile"))
    order = {"flow_id": flow, "state": {"type": "SCHEDULED"}}
    assert httpx.post(f"{api}/flow_runs/", json=order, headers={"Origin": FOREIGN}).status_code == 401
    assert httpx.post(f"{api}/flow_runs/", json=order).status_code == 401
    assert httpx.post(f"{api}/flow_runs/", json=order, auth=("dermflow", "guessed")).status_code == 401
    asked = {"Origin": FOREIGN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x"}
    preflight = httpx.options(f"{api}/flow_runs/", headers=asked)
    assert preflight.status_code == 400 and "access-control-allow-origin" not in preflight.headers
    for path in ("/api/flow_runs/count", "/api/health", "/"):
        rebound = httpx.request(
            "POST" if "count" in path else "GET", f"http://127.0.0.1:{port}{path}", headers={"Host": "pages.example"},
            auth=login(),
        )  # fmt: skip
        assert rebound.status_code == 400 and "Invalid host" in rebound.text, path
    with get_client(sync_client=True) as client:
        assert client.read_flow_runs() == []


def test_its_own_clients_and_pages_are_served(port: int) -> None:
    with get_client(sync_client=True) as client:
        assert client.api_healthcheck() is None
        client.create_flow_from_name("own")
        assert "own" in [flow.name for flow in client.read_flows()]
    for host in ("127.0.0.1", "localhost"):
        origin = f"http://{host}:{port}"
        answer = httpx.post(
            f"http://127.0.0.1:{port}/api/flows/count", headers={"Origin": origin}, auth=login(), timeout=30
        )
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == origin
    assert httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=True, timeout=30).status_code == 200
    assert httpx.get(f"http://127.0.0.1:{port}/ui-settings", timeout=30).json()["auth"] == "BASIC"


def test_only_this_user_can_read_the_login(port: int) -> None:
    assert stat.S_IMODE((STATE / LOGIN).stat().st_mode) == 0o600
    password = login()[1]
    assert len(password) >= 32
    commands = [word for process in psutil.process_iter(["cmdline"]) for word in process.info["cmdline"] or []]
    assert commands and not [word for word in commands if password in word]


def test_it_listens_on_this_host_alone(port: int) -> None:
    own = psutil.Process()
    places = [
        place.laddr
        for process in own.children(recursive=True)
        for place in process.net_connections("tcp")
        if place.status == psutil.CONN_LISTEN
    ]
    assert ("127.0.0.1", port) in places
    assert {ip for ip, number in places if number == port} == {"127.0.0.1"}


def test_a_second_schedule_of_the_checkout_uses_the_same_server(port: int) -> None:
    unset = {PREFECT_API_URL: None, PREFECT_API_AUTH_STRING: None}
    with temporary_settings(unset), server_at(port), get_client(sync_client=True) as client:
        assert str(client.api_url).startswith(f"http://127.0.0.1:{port}/api")
        client.read_flows()


def test_another_checkout_is_told_whose_login_is_missing(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        temporary_settings({PREFECT_API_URL: None, PREFECT_API_AUTH_STRING: None}),
        pytest.raises(RunError, match=rf"at 127.0.0.1:{port} refuses the content of .*: set PREFECT_API_AUTH_STRING"),
        server_at(port),
    ):
        pass


def test_a_wrong_login_for_a_named_server_is_told_before_work(port: int) -> None:
    with (
        temporary_settings({PREFECT_API_AUTH_STRING: "dermflow:guessed"}),
        pytest.raises(RunError, match=r"it answers 401 .*set PREFECT_API_KEY or PREFECT_API_AUTH_STRING"),
        server_of_one_run(),
    ):
        pass
