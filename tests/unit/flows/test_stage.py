"""What running a function as a stage adds: settings, an MLflow run that tells the truth, a metrics file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

import mlflow
import pytest
from mlflow.entities import Run
from pydantic import ValidationError

from components.base.errors import DataError, SettingsError
from components.base.log import Log
from flows.settings import load_settings
from flows.stage import STALE_VARIABLE, Stage, sets_aside, stage
from flows.tracking import lineage, mlflow_log
from flows.tracking.resumed_runs import Training, identify


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One MLflow database for all tests here: making it takes seconds."""
    return tmp_path_factory.mktemp("checkout")


@pytest.fixture(autouse=True)
def checkout(folder: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / "params.yaml").write_text((repo / "params.yaml").read_text())
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


def newest(name: str) -> Run:
    client = mlflow_log.open_client()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, f"tags.stage = '{name}'", order_by=["attributes.start_time DESC"])[0]


def test_a_lock_that_dvc_is_writing_is_read_when_it_is_whole(checkout: Path) -> None:
    whole = "stages:\n" + "".join(f"  s{n}:\n    outs:\n    - path: o{n}\n      md5: m{n}\n" for n in range(20))

    def write() -> None:
        for _ in range(5):
            with (checkout / "dvc.lock").open(
                "w"
            ) as lock:  # empty for a while, then in pieces, as a busy disk shows it
                for start in range(0, len(whole), 100):
                    time.sleep(0.004)
                    lock.write(whole[start : start + 100])
                    lock.flush()
            time.sleep(0.1)

    (checkout / "dvc.lock").write_text(whole)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [len(lineage.recorded_hashes()) for _ in range(12)]
    finally:
        writer.join()
        (checkout / "dvc.lock").unlink()
    assert found == [20] * 12
    assert lineage.recorded_hashes() == {}


def make(work: Any) -> Stage:
    return stage(work)


def test_sections_come_by_name_and_the_rest_from_the_command_line() -> None:
    seen: dict[str, object] = {}

    @stage
    def probe(arm: str, protocol: Literal["frozen", "full"], seed: int, pack: Any, validate: Any, log: Log) -> dict:
        seen.update(arm=arm, seed=seed, size=pack.image_size, side=validate.min_side)
        log.metrics({"val/loss": 0.5}, step=0)
        log.metrics({"val/loss": 0.25}, step=1)
        return {"best": {"loss": 0.25}, "text": "not a number"}

    assert probe.sections == ["pack", "validate"]
    assert probe.varying == ["arm", "protocol", "seed"]
    probe.run(["vae", "frozen", "3"])
    assert seen == {"arm": "vae", "seed": 3, "size": 48, "side": 32}
    path = Path("metrics/probe/vae-frozen-3.json")
    assert json.loads(path.read_text()) == {"best": {"loss": 0.25}, "text": "not a number"}
    run = newest("probe")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "probe@vae-frozen-3"
    assert run.data.metrics["best/loss"] == 0.25
    assert run.data.params["pack.image_size"] == "48"
    assert run.data.tags["made"] == lineage.file_md5(path)
    history = mlflow_log.open_client().get_metric_history(run.info.run_id, "val/loss")
    assert [(point.step, point.value) for point in history] == [(0, 0.5), (1, 0.25)]


def test_a_wrong_command_line_is_refused() -> None:
    @stage
    def probe(arm: str, seed: int) -> dict:
        return {}

    with pytest.raises(SettingsError, match=r"flows.probe takes \['arm', 'seed'\], got \['vae'\]; see dvc.yaml"):
        probe.run(["vae"])
    with pytest.raises(ValidationError, match="valid integer"):
        probe.run(["vae", "zero"])


@pytest.mark.parametrize(
    ("error", "status"), [(DataError("p_017 is broken"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_the_run_says_how_it_ended_and_keeps_what_was_logged(error: BaseException, status: str) -> None:
    @stage
    def broken(log: Log) -> dict:
        log.metrics({"rows": 7})
        raise error

    with pytest.raises(type(error)):
        broken.run([])
    run = newest("broken")
    assert run.info.status == status
    assert run.data.metrics["rows"] == 7
    assert type(error).__name__ in run.data.tags["error"]
    assert not Path("metrics/broken.json").exists()


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


def test_a_name_has_one_point_a_step() -> None:
    """`pretrain` ends with its curve's last row, whose names have had their steps."""

    @stage
    def curve(log: Log) -> dict:
        for step in range(2):
            log.metrics({"val/elbo": -step}, step=step)
        return {"val/elbo": -1, "images": 3}

    curve.run([])
    run = newest("curve")
    history = mlflow_log.open_client().get_metric_history(run.info.run_id, "val/elbo")
    assert [(point.step, point.value) for point in history] == [(0, 0), (1, -1)]
    assert run.data.metrics["images"] == 3


def test_a_run_goes_on_and_says_what_has_changed(tmp_path: Path) -> None:
    """Another machine may take another number of threads; what the run began with stays a parameter."""
    settings, training = load_settings(), Training(tmp_path / "state", identify({"rate": 0.1}))
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
    other = Training(tmp_path / "state", identify({"rate": 0.2}))
    with mlflow_log.recorded_run(settings, "going", given, other) as fresh:
        assert fresh.run_id != log.run_id


def test_an_unknown_wish_for_stale_states_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STALE_VARIABLE, "delete")
    with pytest.raises(SettingsError, match="DERMFLOW_STALE_STATE is 'delete', expected refuse or set-aside"):
        sets_aside()


def test_a_metric_that_is_not_finite_fails_the_stage() -> None:
    @stage
    def odd() -> dict:
        return {"loss": float("nan")}

    with pytest.raises(ValueError, match="not JSON compliant"):
        odd.run([])


def test_the_data_set_is_an_input_with_the_digest_of_dvc(checkout: Path) -> None:
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


def test_the_database_stands_in_mlruns_and_a_server_overrides_it(
    monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    assert mlflow_log.tracking_uri() == f"sqlite:///{checkout}/mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5999")
    assert mlflow_log.tracking_uri() == "http://127.0.0.1:5999"


def test_two_processes_may_open_a_new_database_at_once(tmp_path: Path, repo: Path) -> None:
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
    said = [process.communicate()[0].strip() for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert said[0] == said[1]
    assert (
        mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db").get_experiment_by_name("demo").experiment_id
        == said[0]
    )


def test_a_stage_may_take_the_list_of_external_test_sets(checkout: Path) -> None:
    text = (checkout / "params.yaml").read_text()
    listed = "external: [{name: pad, dataset: {kind: pad_ufes, path: data/raw/pad}, diagnoses: {NEV: nv}}]\nformer:"
    changed = text.replace("external: []", listed, 1).split("former:")
    (checkout / "params.yaml").write_text(changed[0] + changed[1].split("\n\n", 1)[1])

    @stage
    def lists(external: Any) -> dict:
        return {"cohorts": len(external)}

    assert lists.run([]) == {"cohorts": 1}
    assert "'NEV': 'nv'" in newest("lists").data.params["external"]
