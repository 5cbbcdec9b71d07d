"""The inputs of runs in MLflow: the study's data set, and the external test sets that a run reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from ruamel.yaml import YAML

from flows.settings import load_settings
from flows.tracking import mlflow_log
from flows.tracking.inputs import log_inputs

MD5 = {name: f"{place}f" * 16 + ".dir" for place, name in enumerate(("data/raw/synthetic", "data/raw/a", "../b"))}


@pytest.fixture
def with_external(plain_checkout: Path) -> Iterator[Path]:
    """Two external test sets, whose md5 DVC has recorded."""
    values = YAML(typ="safe").load((plain_checkout / "params.yaml").read_text())
    values["external"] = [
        {"name": "a", "dataset": {"kind": "isic", "path": "data/raw/a/"}},
        {"name": "b", "dataset": {"kind": "isic", "path": "../b"}},
    ]
    with (plain_checkout / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(values, file)
    deps = [{"path": path, "md5": md5} for path, md5 in MD5.items()]
    Path("dvc.lock").write_text(json.dumps({"stages": {"admit@cohort0": {"deps": deps}}}))
    yield plain_checkout
    Path("dvc.lock").unlink(missing_ok=True)


def run_with(tags: dict[str, str]) -> Run:
    with mlflow_log.recorded_run(load_settings(), "test", tags) as log:
        pass
    return log.client.get_run(log.run_id)


def inputs(run: Run) -> dict[str, tuple[str, str]]:
    """Name -> md5 and context."""
    found = run.inputs.dataset_inputs
    return {each.dataset.name: (each.dataset.digest, *(tag.value for tag in each.tags)) for each in found}


def test_a_run_names_the_external_set_that_it_reads(with_external: Path) -> None:
    study = {"synthetic": (MD5["data/raw/synthetic"], "training")}
    external = {"a": (MD5["data/raw/a"], "external test"), "b": (MD5["../b"], "external test")}
    assert inputs(run_with({"stage": "finetune", "arm": "vae"})) == study
    assert inputs(run_with({"stage": "admit", "item": "b", "cohort": "b"})) == study | {"b": external["b"]}
    assert inputs(run_with({"stage": mlflow_log.PIPELINE})) == study | external


def test_an_input_is_logged_once_and_a_missing_one_later(with_external: Path) -> None:
    with mlflow_log.recorded_run(load_settings(), "test", {"stage": "ingest"}) as log:
        for _ in range(2):
            log_inputs(log.client, log.run_id, load_settings(), ["a"])
    run = log.client.get_run(log.run_id)
    assert len(run.inputs.dataset_inputs) == 2 and set(inputs(run)) == {"synthetic", "a"}


def test_before_dvc_has_recorded_a_set_it_is_no_input(with_external: Path) -> None:
    Path("dvc.lock").write_text(json.dumps({"stages": {}}))
    assert inputs(run_with({"stage": "admit", "cohort": "a"})) == {}
