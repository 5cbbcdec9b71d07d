"""Data before a scheduled run, with real DVC: pulled where they are missing, updated where they were imported."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.base.errors import RunError
from flows.orchestration.graph import data_files
from flows.orchestration.processes import Processes
from flows.orchestration.pull import pull_data
from flows.settings import Settings, load_settings

DATA = "data/raw/clinic"


def dvc(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def pull(settings: Settings) -> list[str]:
    lines: list[str] = []
    pull_data(settings, Processes(), lines.append)
    return lines


@pytest.fixture
def settings(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a checkout in the current folder, whose data set has an image of its own and an imported one; no remote."""
    (tmp_path / "checkout" / DATA).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "checkout")
    shutil.copy(repo / "params.yaml", "params.yaml")
    dvc("init", "--no-scm")
    (tmp_path / "theirs.jpg").write_bytes(b"imported, first version")
    dvc("import-url", str(tmp_path / "theirs.jpg"), f"{DATA}/theirs.jpg")
    Path(DATA, "own.jpg").write_bytes(b"own")
    dvc("add", f"{DATA}/own.jpg")
    read = load_settings()
    return read.model_copy(update={"dataset": read.dataset.model_copy(update={"path": Path(DATA)})})


def test_without_a_remote_nothing_happens_and_one_line_says_so(settings: Settings) -> None:
    Path(DATA, "own.jpg").unlink()
    assert pull(settings) == ["no remote of DVC is configured: nothing is pulled, the data are used as they are here"]
    assert not Path(DATA, "own.jpg").exists()


def test_missing_data_are_pulled_and_imports_updated(settings: Settings, tmp_path: Path) -> None:
    dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    dvc("push")
    Path(DATA, "own.jpg").unlink()
    shutil.rmtree(".dvc/cache")
    (tmp_path / "theirs.jpg").write_bytes(b"imported, second version")
    lines = pull(settings)
    assert [line for line in lines if line.startswith("dvc ")] == [
        f"dvc update {DATA}/theirs.jpg.dvc", f"dvc pull {DATA}/own.jpg.dvc"
    ]  # fmt: skip
    assert Path(DATA, "own.jpg").read_bytes() == b"own"
    assert Path(DATA, "theirs.jpg").read_bytes() == b"imported, second version"
    assert pull(settings)[-1] == "nothing to pull: the data of every .dvc file are here as recorded"


def test_imports_elsewhere_are_left_alone(settings: Settings, tmp_path: Path) -> None:
    dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    elsewhere = settings.dataset.model_copy(update={"path": Path("data/raw/other")})
    (tmp_path / "theirs.jpg").write_bytes(b"imported, second version")
    pull(settings.model_copy(update={"dataset": elsewhere}))
    assert Path(DATA, "theirs.jpg").read_bytes() == b"imported, first version"


def test_a_failing_pull_is_told_with_remote_reason_and_command(settings: Settings, tmp_path: Path) -> None:
    dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    dvc("push")
    Path(DATA, "own.jpg").unlink()
    shutil.rmtree(".dvc/cache")
    shutil.rmtree(tmp_path / "store")
    told = rf"brought up to date from store, so no stage ran: .*see why with `dvc pull {re.escape(DATA)}/own.jpg.dvc`"
    with pytest.raises(RunError, match=re.compile(told, re.DOTALL)):
        pull(settings)


def test_data_that_were_changed_here_are_not_overwritten(settings: Settings, tmp_path: Path) -> None:
    dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    dvc("push")
    Path(DATA, "own.jpg").unlink()  # DVC protects it
    Path(DATA, "own.jpg").write_bytes(b"edited by hand")
    with pytest.raises(RunError, match=r"if data were changed here, record them with `dvc add` \(data/raw/clinic/own"):
        pull(settings)
    assert Path(DATA, "own.jpg").read_bytes() == b"edited by hand"


def test_data_files_that_git_keeps_are_those_that_dvc_sees(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    shutil.copy(repo / ".gitignore", ".gitignore")
    dvc("init", "-q")
    for name in ("data/raw/clinic/a.jpg", "data/kept_split.csv", "data/accepted.parquet"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    dvc("add", "-q", "data/raw/clinic", "data/kept_split.csv")
    listed = subprocess.run(["git", "ls-files", "-o", "--exclude-standard"], check=True, capture_output=True, text=True)
    expected = ["data/kept_split.csv.dvc", "data/raw/clinic.dvc"]
    assert sorted(line for line in listed.stdout.splitlines() if line.startswith("data/")) == expected
    assert sorted(each.address for each in data_files()) == expected
