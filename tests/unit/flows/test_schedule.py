"""A schedule is refused before a server starts when no scheduler would understand it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.base.errors import RunError
from flows.commands.cli import app
from flows.commands.doctor import examine
from flows.commands.schedule import check_cron


@pytest.mark.parametrize("cron", ["every day", "61 * * * *", "* * *", ""])
def test_a_wrong_cron_line_is_refused(cron: str) -> None:
    with pytest.raises(RunError, match=r"is no cron line, such as '0 3 \* \* \*'"):
        check_cron(cron)


def test_a_right_cron_line_passes() -> None:
    check_cron("0 3 * * *")
    check_cron("*/5 8-18 * * 1-5")


def test_errors_are_told_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report"])
    assert done.exit_code == 1
    assert "params.yaml: cannot be read" in done.output
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


def test_doctor_says_what_to_mend(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text((repo / "params.yaml").read_text().replace("threads: 1", "threads: none"))
    monkeypatch.chdir(tmp_path)
    findings = {finding.what: finding for finding in examine(tmp_path)}
    assert not findings["params.yaml"].good
    assert "compute.threads = 'none'" in findings["params.yaml"].seen
    assert not findings["tools"].good
    assert all(finding.mend for finding in findings.values() if not finding.good)
