"""What a stage adds to a function: settings, an MLflow run with the true status, a metrics file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from mlflow.entities import Run
from pydantic import ValidationError

from components.base.errors import DataError, SettingsError
from components.base.log import Log
from flows.stage import STALE_VARIABLE, Stage, sets_aside, stage
from flows.tracking import lineage, mlflow_log

pytestmark = pytest.mark.usefixtures("plain_checkout")


def newest(name: str) -> Run:
    client = mlflow_log.open_client()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, f"tags.stage = '{name}'", order_by=["attributes.start_time DESC"])[0]


def make(work: Any) -> Stage:
    return stage(work)


def test_sections_are_found_by_name_and_the_rest_is_read_from_the_command_line() -> None:
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
    compared = {name: run.data.params[name] for name in ("arm", "protocol", "seed", "backbone")}
    assert compared == {"arm": "vae", "protocol": "frozen", "seed": "3", "backbone": "efficientnet_lite0"}
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
def test_the_run_is_closed_with_its_true_status_and_keeps_what_was_logged(error: BaseException, status: str) -> None:
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


def test_an_unknown_choice_for_stale_states_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STALE_VARIABLE, "delete")
    with pytest.raises(SettingsError, match="DERMFLOW_STALE_STATE is 'delete', expected refuse or set-aside"):
        sets_aside()


def test_a_metric_that_is_not_finite_fails_the_stage() -> None:
    @stage
    def odd() -> dict:
        return {"loss": float("nan")}

    with pytest.raises(ValueError, match="not JSON compliant"):
        odd.run([])


def test_a_stage_may_take_the_list_of_external_test_sets(plain_checkout: Path) -> None:
    text = (plain_checkout / "params.yaml").read_text()
    listed = "external: [{name: pad, dataset: {kind: pad_ufes, path: data/raw/pad}, diagnoses: {NEV: nv}}]\nformer:"
    changed = text.replace("external: []", listed, 1).split("former:")
    (plain_checkout / "params.yaml").write_text(changed[0] + changed[1].split("\n\n", 1)[1])

    @stage
    def lists(external: Any) -> dict:
        return {"cohorts": len(external)}

    assert lists.run([]) == {"cohorts": 1}
    assert "'NEV': 'nv'" in newest("lists").data.params["external"]
