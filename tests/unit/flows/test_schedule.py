"""Commands refuse wrong input with a message: schedules, other studies, and settings that the doctor names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, temporary_settings
from ruamel.yaml import YAML
from typer.testing import CliRunner

from components.base.errors import RunError
from flows.commands.cli import app
from flows.commands.doctor import examine
from flows.commands.schedule import deployment_name, serve
from flows.orchestration.schedules import UTC, check_schedule


@pytest.mark.parametrize("cron", ["every day", "61 * * * *", "* * *", ""])
def test_a_wrong_schedule_is_refused(cron: str) -> None:
    with pytest.raises(RunError, match=r"is not a cron schedule, such as '0 3 \* \* \*'"):
        check_schedule(cron, UTC)


def test_a_right_schedule_passes() -> None:
    check_schedule("0 3 * * *", UTC)
    check_schedule("*/5 8-18 * * 1-5", "Europe/Berlin")


@pytest.mark.parametrize(
    ("wrong", "similar"), [("Europe/Berln", "; Europe/Berlin is similar"), ("+02:00", ""), ("", "")]
)
def test_an_unknown_time_zone_is_refused_with_a_similar_one(wrong: str, similar: str) -> None:
    with pytest.raises(
        RunError, match=rf"^--timezone {re.escape(repr(wrong))} is no IANA time zone.*Etc/UTC{similar}$"
    ):
        check_schedule("0 3 * * *", wrong)


def test_a_port_besides_the_address_of_a_persons_server_is_refused() -> None:
    """The address is used, never replaced by a server on this host."""
    named = {PREFECT_API_URL: "http://prefect.example:4200/api"}
    with (
        temporary_settings(named),
        pytest.raises(RunError, match=r"PREFECT_API_URL = http://prefect.example:4200/api names Prefect's server, and"),
    ):
        serve("0 3 * * *", port=4300)


def test_each_checkout_has_a_deployment_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        names += [deployment_name(), deployment_name()]
    assert names[0] == names[1] != names[2] == names[3]


def test_each_deployment_of_prefect_yaml_names_a_flow_and_its_parameters(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    found = {}
    for each in YAML(typ="safe").load((repo / "prefect.yaml").read_text())["deployments"]:
        flow = load_flow_from_entrypoint(each["entrypoint"])
        found[each["name"]] = flow.name
        assert set(each["parameters"]) <= set(flow.parameters.properties), each["name"]
    assert found == {"nightly": "dermflow-nightly", "predict": "dermflow-predict", "promote": "dermflow-promotion"}


def test_errors_are_printed_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report"])
    assert done.exit_code == 2
    assert f"dermflow: {tmp_path} is in no checkout of Dermflow" in done.output
    assert "Traceback" not in done.output


def test_demo_refuses_another_study(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        (repo / "params.yaml")
        .read_text()
        .replace("kind: synthetic", "kind: folder")
        .replace("key: public", "key: secret")
    )
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 1
    assert "params.yaml holds the study 'demo' on folder data: `dermflow use demo` first" in done.output


def test_doctor_says_what_to_fix(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text((repo / "params.yaml").read_text().replace("threads: 1", "threads: none"))
    monkeypatch.chdir(tmp_path)
    checks = {check.what: check for check in examine(tmp_path)}
    assert not checks["params.yaml"].passed
    assert "compute.threads = 'none'" in checks["params.yaml"].found
    assert not checks["tools"].passed
    assert all(check.fix for check in checks.values() if not check.passed)


def test_doctor_names_the_external_test_sets_that_are_missing(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ", ".join(f"{{name: {name}, dataset: {{kind: isic, path: {name}}}}}" for name in ("here", "away"))
    text = (repo / "params.yaml").read_text().replace("external: []", f"external: [{sets}]")
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    checks = [check for check in examine(tmp_path) if check.what == "external test set"]
    assert [(check.passed, check.found) for check in checks] == [
        (True, "here at here"),
        (False, "away: away is not a folder"),
    ]
