"""Code changes and versions that a run is recorded with."""

from __future__ import annotations

import re
from contextlib import chdir
from pathlib import Path

import pytest

from components.base.errors import RunError
from flows.settings import load_settings
from flows.tracking import mlflow_log
from flows.tracking.environment import CODE_DIFF, ORIGIN_FOLDER, code_changes, differing_packages
from flows.tracking.mlflow_log import open_client
from tests.unit.flows.toy_repository import change, command, record

pytestmark = pytest.mark.usefixtures("toy_checkout")


def changed_files(diff: bytes) -> list[str]:
    return re.findall(r"^diff --git a/(\S+)", diff.decode(), re.M)


def test_the_diff_has_code_alone_and_does_not_change_the_index(toy_checkout: Path) -> None:
    record("average")
    change("params.yaml", "margin: 0.02", "margin: 0.03")
    Path("notes.txt").write_text("a private note")
    assert code_changes(load_settings()) == b""
    Path("flows/new.py").write_text("x = 1\n")
    before = command(toy_checkout, "git", "status", "--porcelain")
    diff = code_changes(load_settings())
    assert changed_files(diff) == ["flows/new.py"]
    assert command(toy_checkout, "git", "status", "--porcelain") == before
    assert "?? flows/new.py" in before and "notes.txt" in before


def test_with_private_data_the_diff_names_no_other_file(toy_checkout: Path) -> None:
    """Public: every tracked file that changed, and pointers to data. Secret: neither their names nor their content."""
    for path in (".gitignore", "dvc.yaml", "flows/average.py"):
        Path(path).write_text(Path(path).read_text() + "# Erika Mustermann\n")
    pointers = ["data/raw/erika.dvc", "flows/erika.dvc"]
    for path in [*pointers, "flows/new.py"]:
        Path(path).write_text("outs: []\n")
    code = ["dvc.yaml", "flows/average.py", "flows/new.py"]
    assert sorted(changed_files(code_changes(load_settings()))) == sorted([".gitignore", *pointers, *code])
    change("params.yaml", "key: public", "key: secret")
    diff = code_changes(load_settings())
    assert sorted(changed_files(diff)) == code and b"erika" not in diff and b".gitignore" not in diff
    with mlflow_log.recorded_run(load_settings(), "average", {"stage": "average"}) as log:
        pass
    kept = Path(open_client().download_artifacts(log.run_id, f"{ORIGIN_FOLDER}/{CODE_DIFF}"))
    assert kept.read_bytes() == diff


def test_code_changes_are_not_empty_where_git_fails(tmp_path: Path) -> None:
    settings = load_settings()
    with chdir(tmp_path):
        assert code_changes(settings) == b""  # no repository
        command(tmp_path, "git", "init", "-q")
        assert code_changes(settings) == b""  # no commit
        (tmp_path / ".git" / "HEAD").write_text("1" * 40)
        with pytest.raises(
            RunError, match=r"changes beyond the commit cannot be recorded: git diff --binary in .* failed: .*HEAD"
        ):
            code_changes(settings)


def test_versions_that_differ_are_named() -> None:
    found = differing_packages(
        ["numpy==2.0\n", "torch==2.15\n", "gone==1\n"], {"numpy": "2.1", "torch": "2.15", "more": "3"}
    )
    assert found == ["gone 1 then, absent now", "more absent then, 3 now", "numpy 2.0 then, 2.1 now"]
