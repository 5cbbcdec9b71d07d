"""The templates of deploy/ against what Prefect's server and workers accept."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from prefect.server.schemas.actions import WorkPoolCreate
from prefect.utilities.schema_tools import is_valid_schema, validate
from prefect.utilities.templating import apply_values

KINDS = ("docker", "kubernetes")


def read_template(repo: Path, kind: str) -> dict[str, Any]:
    return dict(json.loads((repo / "deploy" / f"{kind}-pool.json").read_text()))


def workers_own(kind: str) -> dict[str, Any]:
    """The template that Prefect ships for this worker."""
    place = files("prefect.server.api") / "collections_data" / "views" / "aggregate-worker-metadata.json"
    return dict(json.loads(place.read_text())[f"prefect-{kind}"][kind]["default_base_job_configuration"])


def defaults(template: dict[str, Any]) -> dict[str, Any]:
    return {name: each["default"] for name, each in template["variables"]["properties"].items() if "default" in each}


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_accepts_the_template_and_the_defaults_fit_it(repo: Path, kind: str) -> None:
    template = read_template(repo, kind)
    WorkPoolCreate(name="dermflow", type=kind, base_job_template=template)
    is_valid_schema(template["variables"])  # raises where it is none
    assert validate(defaults(template), template["variables"], raise_on_error=False) == []
    with pytest.raises(ValueError, match="job_configuration"):
        WorkPoolCreate(name="dermflow", type=kind, base_job_template=template | {"variables": {"properties": {}}})


@pytest.mark.parametrize("kind", KINDS)
def test_the_worker_knows_every_part_of_the_job(repo: Path, kind: str) -> None:
    ours, theirs = read_template(repo, kind), workers_own(kind)
    assert ours["job_configuration"].keys() <= theirs["job_configuration"].keys()
    known = theirs["variables"]["properties"]
    for name, each in ours["variables"]["properties"].items():
        if name in known:
            assert each["type"] == known[name]["type"], name
            assert each.get("enum") == known[name].get("enum"), name
    new = ours["variables"]["properties"].keys() - known.keys()
    assert new == ({"claim", "gpus"} if kind == "kubernetes" else set())


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_sees_the_checkout_where_the_deployments_look_for_it(repo: Path, kind: str) -> None:
    template = read_template(repo, kind)
    job: Any = apply_values(template["job_configuration"], {**defaults(template), "name": "night", "command": "go"})
    checkout = job["env"]["DERMFLOW_CHECKOUT"]
    assert "$DERMFLOW_CHECKOUT" in (repo / "prefect.yaml").read_text()
    assert job["env"]["PYTHONPATH"] == checkout  # its code, not that of the image
    if kind == "docker":
        assert job["volumes"] == [f"{checkout}:{checkout}"]
        return
    spec = job["job_manifest"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["volumeMounts"] == [{"name": "checkout", "mountPath": checkout}]
    assert spec["volumes"] == [{"name": "checkout", "persistentVolumeClaim": {"claimName": "dermflow"}}]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    user = next(line for line in (repo / "deploy" / "Dockerfile").read_text().splitlines() if line.startswith("USER"))
    assert user == f"USER {spec['securityContext']['runAsUser']}:{spec['securityContext']['fsGroup']}"
