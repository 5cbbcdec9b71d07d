"""Runs in MLflow: parents and children, metrics, resumed runs, and the status that each is closed with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from components.base.log import Log
from flows.orchestration.processes import checkout_id, only_run
from flows.settings import load_settings
from flows.stage import stage
from flows.tracking import mlflow_log
from flows.tracking.mlflow_log import end_dead_flows, open_client
from flows.tracking.resumed_runs import TRAINING_TAG, ResumableRun, fingerprint
from tests.unit.flows.toy_repository import change

pytestmark = pytest.mark.usefixtures("plain_checkout")


def newest(name: str) -> Run:
    client = mlflow_log.open_client()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, f"tags.stage = '{name}'", order_by=["attributes.start_time DESC"])[0]


def test_a_stage_under_a_flow_is_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    @stage
    def child() -> dict:
        return {}

    settings = load_settings()
    with mlflow_log.recorded_run(settings, "parent", {"stage": "parent"}) as parent:
        monkeypatch.setenv(mlflow_log.PARENT_VARIABLE, parent.run_id)
        child.run([])
        assert newest("child").data.tags["mlflow.parentRunId"] == parent.run_id
        orphan = mlflow_log._create(parent.client, settings, "orphan", {"stage": "orphan"})
        mlflow_log.end_orphans(parent)
    assert parent.client.get_run(orphan).info.status == "KILLED"
    assert parent.client.get_run(parent.run_id).info.status == "FINISHED"


def test_a_metric_has_one_value_per_step() -> None:
    """`pretrain` returns the last row of its curve, whose values were logged at their steps already."""

    @stage
    def curve(log: Log) -> dict:
        for step in (1, 2):
            log.metrics({"val/elbo": -step}, step=step)
        return {"val/elbo": -2, "images": 3}

    curve.run([])
    run = newest("curve")
    history = mlflow_log.open_client().get_metric_history(run.info.run_id, "val/elbo")
    assert [(point.step, point.value) for point in history] == [(1, -1), (2, -2)]
    assert run.data.metrics["images"] == 3


def test_a_resumed_run_keeps_its_params_and_tags_what_has_changed(tmp_path: Path) -> None:
    """Another machine can use another number of threads; the value of the beginning stays a param."""
    settings, training = load_settings(), ResumableRun(tmp_path / "state", fingerprint({"rate": 0.1}))
    given = {"stage": "going"}
    with pytest.raises(KeyboardInterrupt), mlflow_log.recorded_run(settings, "going", given, training) as log:
        log.settings({"compute": {"threads": 1}, "rate": 0.1})
        log.metrics({"loss": 3}, step=0)
        raise KeyboardInterrupt
    (tmp_path / "state" / "last.ckpt").touch()
    with mlflow_log.recorded_run(settings, "going", given, training) as log:
        log.settings({"compute": {"threads": 2}, "rate": 0.1})
        log.metrics({"loss": 3}, step=0)
        log.metrics({"loss": 2}, step=1)
    run = newest("going")
    assert (run.info.status, run.info.run_id, run.data.tags["resumed"]) == ("FINISHED", log.run_id, "1")
    assert run.data.params == {"compute.threads": "1", "rate": "0.1"} and run.data.tags["compute.threads"] == "2"
    assert "error" not in run.data.tags
    history = log.client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 3), (1, 2)]
    other = ResumableRun(tmp_path / "state", fingerprint({"rate": 0.2}))
    with mlflow_log.recorded_run(settings, "going", given, other) as fresh:
        assert fresh.run_id != log.run_id


def test_the_data_set_is_an_input_with_the_md5_of_dvc(plain_checkout: Path) -> None:
    lock = {"stages": {"ingest": {"deps": [{"path": "data/raw/synthetic", "md5": "0f" * 16 + ".dir"}]}}}
    Path("dvc.lock").write_text(json.dumps(lock))

    @stage
    def reader() -> dict:
        return {}

    try:
        reader.run([])
    finally:
        Path("dvc.lock").unlink()
    run = newest("reader")
    assert run.inputs.dataset_inputs[0].dataset.digest == "0f" * 16 + ".dir"
    assert run.data.tags["dvc.data"] == "0f" * 16 + ".dir"


def test_the_database_is_in_mlruns_unless_a_server_is_named(
    monkeypatch: pytest.MonkeyPatch, plain_checkout: Path
) -> None:
    assert mlflow_log.tracking_uri() == f"sqlite:///{plain_checkout}/mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5999")
    assert mlflow_log.tracking_uri() == "http://127.0.0.1:5999"


def test_two_processes_can_open_a_new_database_at_once(tmp_path: Path, repo: Path) -> None:
    (tmp_path / "params.yaml").write_text((repo / "params.yaml").read_text())
    code = (
        "from flows.tracking.mlflow_log import open_client, open_experiment; "
        "print(open_experiment(open_client(), 'demo'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    pair = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    output = [process.communicate()[0].strip() for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert output[0] == output[1]
    assert (
        mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db").get_experiment_by_name("demo").experiment_id
        == output[0]
    )


def test_a_run_whose_artifacts_cannot_be_stored_is_closed_as_failed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = open_client()
    experiment = client.create_experiment("refused", artifact_location=(tmp_path / "file" / "inside").as_uri())
    change("params.yaml", "name: demo", "name: refused")
    with pytest.raises(NotADirectoryError), mlflow_log.recorded_run(load_settings(), "average", {"stage": "average"}):
        pytest.fail("the work began")
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FAILED" and "NotADirectoryError" in run.data.tags["error"]


FLOW = """
import os, signal
from flows.orchestration.processes import only_run
from flows.orchestration.study_run import recorded_study
from flows.settings import load_settings
from flows.tracking import mlflow_log

settings = load_settings()
with only_run([]), recorded_study(settings) as log:
    os.environ[mlflow_log.PARENT_VARIABLE] = log.run_id
    for name, tags in {"pack": {}, "finetune": {"training": "id"}}.items():
        mlflow_log._create(log.client, settings, name, {"stage": name, **tags})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_run_of_a_killed_flow_is_closed_by_the_next_flow(plain_checkout: Path, repo: Path) -> None:
    """A training keeps its status: the process that resumes it looks for a run that is RUNNING."""
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(repo)!r}){FLOW}"]
    killed = subprocess.run(words, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    client = open_client()
    elsewhere = mlflow_log._create(client, load_settings(), "theirs", {"stage": "pipeline", "checkout": "0f"})
    (flow,) = [run for run in running(client) if run.data.tags.get("checkout") not in (None, "0f")]
    with only_run([]):
        assert end_dead_flows(client, checkout_id()) == [f"{flow.info.run_name} ({flow.info.run_id})"]
        assert end_dead_flows(client, checkout_id()) == []
    assert "ended without closing the run" in client.get_run(flow.info.run_id).data.tags["error"]
    below = client.search_runs([flow.info.experiment_id], f"tags.mlflow.parentRunId = '{flow.info.run_id}'")
    assert {run.info.run_name: run.info.status for run in [flow, *below][1:]} == {
        "pack": "KILLED",
        "finetune": "RUNNING",
    }
    assert client.get_run(flow.info.run_id).info.status == "KILLED"
    assert [run.info.run_id for run in running(client) if TRAINING_TAG not in run.data.tags] == [elsewhere]


def running(client: mlflow_log.MlflowClient) -> list[Run]:
    return mlflow_log.search_runs(client, "attributes.status = 'RUNNING'")
