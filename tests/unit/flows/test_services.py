"""Services that do not answer are told within seconds: the variable, its value, what was found, and how to fix it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from components.base.errors import RunError
from flows.commands.cli import app
from flows.commands.doctor import MachineCheck, examine
from flows.orchestration import prefect_server
from flows.settings import load_settings
from flows.stage import stage
from flows.tracking import services
from flows.tracking.mlflow_log import mlruns_folder, open_client, open_experiment, recorded_run, tracking_uri
from flows.tracking.services import (
    MLFLOW_VARIABLE,
    PREFECT_VARIABLE,
    find_mlflow_problem,
    find_prefect_problem,
    masked,
    require_mlflow,
    require_prefect,
)
from tests.unit.flows.toy_repository import change

pytestmark = pytest.mark.usefixtures("plain_checkout")


@contextmanager
def server(status: int, kind: str, body: str) -> Iterator[int]:
    """An HTTP server that gives one answer to everything; its port."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found.server_port
        found.shutdown()
        thread.join()


@pytest.fixture
def refused() -> int:
    """A port at which nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen(50)
        yield int(found.getsockname()[1])


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "DEADLINE_S", 1.0)
    require_mlflow.cache_clear()


def problem_of(monkeypatch: pytest.MonkeyPatch, address: str) -> str:
    monkeypatch.setenv(MLFLOW_VARIABLE, address)
    return str(find_mlflow_problem(tracking_uri(), mlruns_folder()))


def prefect_problem_of(monkeypatch: pytest.MonkeyPatch, address: str) -> str:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: address}):
        return str(find_prefect_problem())


@pytest.mark.parametrize("of", [problem_of, prefect_problem_of])
def test_a_service_that_does_not_run_is_told(of, refused: int, silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = of(monkeypatch, f"http://127.0.0.1:{refused}/api")
    assert f"127.0.0.1:{refused}/api: nothing answers at this port (connection refused); start" in dead
    began = time.monotonic()
    assert "no answer within" in of(monkeypatch, f"http://127.0.0.1:{silent}/api")
    assert time.monotonic() - began < 3
    assert "there is no host of this name" in of(monkeypatch, "http://no-such-host.invalid/api")


@pytest.mark.parametrize("of", [problem_of, prefect_problem_of])
def test_a_host_that_swallows_packets_is_told(of, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux drops connections to a socket whose queue is full."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        began = time.monotonic()
        assert "no answer within" in of(monkeypatch, f"http://127.0.0.1:{full.getsockname()[1]}/api")
        assert time.monotonic() - began < 3


def test_the_variable_and_its_value_are_named(refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem_of(monkeypatch, f"http://127.0.0.1:{refused}").startswith(
        f"{MLFLOW_VARIABLE} = http://127.0.0.1:{refused}: "
    )
    assert prefect_problem_of(monkeypatch, f"http://127.0.0.1:{refused}/api").startswith(
        f"{PREFECT_VARIABLE} = http://127.0.0.1:{refused}/api: "
    )


ANSWERS = {
    "credentials": (401, "text/plain", "You are not authenticated", "MLFLOW_TRACKING_USERNAME", "PREFECT_API_KEY"),
    "no right": (403, "application/json", '{"message": "denied"}', "MLFLOW_TRACKING_TOKEN", "PREFECT_API_AUTH_STRING"),
    "broken": (500, "text/plain", "boom", "it answers 500 (boom); see the log", "see the log"),
    "gateway": (502, "text/html", "<html>Bad gateway</html>", "it answers 502 (a web page)", "it answers 502"),
    "another program": (200, "text/html", "<!doctype html>hello", "is not MLflow's API", "is not Prefect's API"),
    "no such path": (
        404,
        "application/json",
        '{"detail": "Not Found"}',
        "is not MLflow's API",
        "is not Prefect's API; start",
    ),
}


def test_the_address_of_a_server_without_its_api_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(200, "text/html", "<html>Prefect's pages</html>") as port:
        told = prefect_problem_of(monkeypatch, f"http://127.0.0.1:{port}")
    assert "it answers 200 (a web page), which is not Prefect's API; add /api to the address" in told


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_not_the_services_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, kind, body, of_mlflow, of_prefect = ANSWERS[name]
    with server(status, kind, body) as port:
        assert of_mlflow in problem_of(monkeypatch, f"http://127.0.0.1:{port}")
        assert of_prefect in prefect_problem_of(monkeypatch, f"http://127.0.0.1:{port}/api")


def test_a_service_that_answers_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(200, "application/json", '{"experiments": []}') as port:
        assert problem_of(monkeypatch, f"http://127.0.0.1:{port}") == "None"
    with server(200, "application/json", "true") as port:
        assert prefect_problem_of(monkeypatch, f"http://127.0.0.1:{port}/api") == "None"


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("file:./mlruns", "(a file store); name a database, as in sqlite:////"),
        ("./mlruns", "(a file store)"),
        ("/data/mlruns", "--source /data/mlruns --target sqlite:////data/mlruns/mlflow.db` takes the runs over"),
        ("127.0.0.1:5000", "it has no scheme; write http://127.0.0.1:5000"),
        ("localhost:5000", "it has no scheme; write http://localhost:5000"),
        ("htp://localhost:5000", "its scheme is 'htp', expected one of ['databricks'"),
        ("sqlite:////no/such/folder/mlflow.db", "the folder /no/such/folder does not exist; make it (mkdir -p)"),
        ("sqlite://", "a database in memory ends with its process; name a file"),
        ("postgresql://u:secret@127.0.0.1:1/runs", "start the database"),
    ],
)
def test_an_address_that_cannot_work_is_refused_with_the_right_form(
    address: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = problem_of(monkeypatch, address)
    assert found in text and f"or unset {MLFLOW_VARIABLE}" in text
    assert "secret" not in text


@pytest.mark.parametrize("address", ["databricks", "databricks://profile"])
def test_a_store_of_another_kind_is_not_asked(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem_of(monkeypatch, address) == "None"


def test_a_file_that_is_no_database_and_a_folder_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.db").write_text("these are no runs but notes")
    assert "is no SQLite database" in problem_of(monkeypatch, f"sqlite:///{tmp_path}/notes.db")
    assert "it is a folder" in problem_of(monkeypatch, f"sqlite:///{tmp_path}")
    (tmp_path / "cut.db").write_bytes(b"SQLite format 3\0" + bytes(200))
    monkeypatch.setenv(MLFLOW_VARIABLE, f"sqlite:///{tmp_path}/cut.db")
    with pytest.raises(RunError, match=r"cut.db: MLflow cannot use it: .*mlflow db upgrade"):
        open_client()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:p@ss/w@host:5000/x", "https://***@host:5000/x"),
        ("postgresql+psycopg2://u:pw@db/runs?password=pw", "postgresql+psycopg2://***@db/runs?***"),
        ("http://host:5000", "http://host:5000"),
        ("me:pw@host:5000", "***@host:5000"),
        ("sqlite:////a@b/mlflow.db", "sqlite:////a@b/mlflow.db"),
    ],
)
def test_no_message_shows_a_password(address: str, shown: str) -> None:
    assert masked(address) == shown


def test_a_message_has_no_password_even_where_nothing_answers(refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = problem_of(monkeypatch, f"http://me:secret@127.0.0.1:{refused}")
    assert f"http://***@127.0.0.1:{refused}: nothing answers" in text and "secret" not in text


def test_a_stage_refuses_before_its_work(refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    @stage
    def work() -> dict:
        pytest.fail("the work began")

    monkeypatch.setenv(MLFLOW_VARIABLE, f"http://127.0.0.1:{refused}")
    with pytest.raises(RunError, match="connection refused"):
        work.run([])


@pytest.mark.parametrize("command", [["run"], ["ui"], ["schedule", "--cron", "0 3 * * *"]])
def test_a_command_refuses_before_its_work(command: list[str], silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MLFLOW_VARIABLE, f"http://127.0.0.1:{silent}")
    began = time.monotonic()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert f"{MLFLOW_VARIABLE} = http://127.0.0.1:{silent}: no answer within" in done.output
    assert "Traceback" not in done.output and time.monotonic() - began < 15


def test_prefect_is_asked_before_a_run(silent: int) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    expected = f"{PREFECT_VARIABLE} = http://127.0.0.1:{silent}/api: no answer within"
    address = {PREFECT_API_URL: f"http://127.0.0.1:{silent}/api"}
    with temporary_settings(address), pytest.raises(RunError, match=expected):
        require_prefect()


def test_another_program_at_the_port_of_the_schedule_is_told() -> None:
    told = r"another program uses port \d+ .* \(a web page\); set --port"
    with server(200, "text/html", "<html>hello</html>") as port, pytest.raises(RunError, match=told):
        prefect_server._answers(port)
    with server(200, "application/json", "true") as port:
        assert prefect_server._answers(port)


def test_the_doctor_is_done_within_seconds(silent: int, plain_checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setattr(services, "DEADLINE_S", 5.0)
    monkeypatch.setenv(MLFLOW_VARIABLE, f"http://127.0.0.1:{silent}")
    began = time.monotonic()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{silent}/api"}):
        found = {check.what: check for check in examine(plain_checkout)}
    assert time.monotonic() - began < 15
    for name, variable in {"mlflow": MLFLOW_VARIABLE, "prefect": PREFECT_VARIABLE}.items():
        assert not found[name].passed and found[name].found.startswith(f"{variable} = http://127.0.0.1:{silent}")
        assert variable in found[name].fix


def doctor(root: Path, what: str) -> MachineCheck:
    return next(check for check in examine(root) if check.what == what)


def test_a_deleted_experiment_is_told_with_the_way_back(plain_checkout: Path, tmp_path: Path) -> None:
    change("params.yaml", "name: demo", "name: deleted")
    client = open_client()
    number = open_experiment(client, "deleted")
    client.delete_experiment(number)
    way = f"`{MLFLOW_VARIABLE}={tracking_uri()} mlflow experiments restore -x {number}`"
    told = pytest.raises(RunError, match=r"experiment 'deleted' .* was deleted there")
    with told as raised, recorded_run(load_settings(), "work", {"stage": "work"}):
        pytest.fail("the work began")
    assert way in str(raised.value)
    assert way in doctor(plain_checkout, "mlflow").found
    command = f"{Path(sys.executable).parent}/{way.strip('`').partition(' ')[2]}"
    environment = {MLFLOW_VARIABLE: tracking_uri(), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run(command.split(), env=environment, check=True, capture_output=True)
    assert open_experiment(client, "deleted") == number
    assert doctor(plain_checkout, "mlflow").passed


def test_the_experiments_of_a_real_server_are_found(
    plain_checkout: Path, refused: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the answers of MLflow's own server: experiments, and one that was deleted there."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/runs.db",
               "--host", "127.0.0.1", "--port", str(refused), "--workers", "1"]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    monkeypatch.setenv(MLFLOW_VARIABLE, f"http://127.0.0.1:{refused}")
    try:
        until = time.monotonic() + 90
        while find_mlflow_problem(tracking_uri(), mlruns_folder()) and time.monotonic() < until:
            time.sleep(0.5)
        client = open_client()
        number = open_experiment(client, load_settings().study.name)
        assert doctor(plain_checkout, "mlflow").passed
        client.delete_experiment(number)
        assert f"`mlflow experiments restore -x {number}`" in doctor(plain_checkout, "mlflow").found
        assert "is not Prefect's API" in prefect_problem_of(monkeypatch, f"http://127.0.0.1:{refused}/api")
        assert isinstance(client, MlflowClient)
    finally:
        process.terminate()
        process.wait(timeout=30)
