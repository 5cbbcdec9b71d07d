"""Whether a stage would run again, against DVC's own command, in one process that asks many times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.orchestration.graph import is_changed


def make_repository(folder: Path) -> None:
    """A git and DVC repository with one finished stage that copies a file."""
    folder.mkdir()
    (folder / "in.txt").write_text("1")
    (folder / "params.yaml").write_text("times: 1\n")
    (folder / "dvc.yaml").write_text(
        "stages:\n  copy:\n    cmd: cp in.txt out.txt\n    deps: [in.txt]\n    params: [times]\n    outs: [out.txt]\n"
    )
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    repro(folder)


def repro(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_repository(tmp_path / "one")
    monkeypatch.chdir(tmp_path / "one")
    return tmp_path / "one"


def test_each_kind_of_change_is_seen_and_forgotten_when_it_is_taken_back(checkout: Path) -> None:
    assert not is_changed("copy")
    for name, text in {"in.txt": "2", "params.yaml": "times: 2\n"}.items():
        before = (checkout / name).read_text()
        (checkout / name).write_text(text)
        assert is_changed("copy"), name
        (checkout / name).write_text(before)
        assert not is_changed("copy"), name
    stages = (checkout / "dvc.yaml").read_text()
    (checkout / "dvc.yaml").write_text(stages.replace("cp in", "cp -f in"))
    assert is_changed("copy")
    repro(checkout)
    assert not is_changed("copy")


def test_a_lost_output_and_a_lost_lock_are_seen(checkout: Path) -> None:
    assert not is_changed("copy")
    (checkout / "out.txt").unlink()
    assert is_changed("copy")
    repro(checkout)
    assert not is_changed("copy")
    (checkout / "dvc.lock").unlink()
    assert is_changed("copy")


def test_another_folder_is_another_repository(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repository(checkout.parent / "two")
    (checkout.parent / "two" / "in.txt").write_text("2")
    assert not is_changed("copy")
    monkeypatch.chdir(checkout.parent / "two")
    assert is_changed("copy")
    monkeypatch.chdir(checkout)
    assert not is_changed("copy")
    assert Path.cwd() == checkout
