"""The files of the locked protocol and of the openings of test images; `dermflow lock` in a git repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError, SettingsError
from flows.commands.lock import lock
from flows.stage_io import protocol
from flows.stage_io.protocol import count_opening, models_sha256, read_lock, read_openings

HEADER = "date,images,models,what\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_new_models_are_an_opening_and_the_same_models_again_are_none() -> None:
    protocol.OPENINGS.write_text(HEADER)
    count_opening("images", "first", "6 models: vae, imagenet")
    count_opening("images", "first", "6 models: vae, imagenet")
    count_opening("images", "second", "10 models")
    count_opening("others", "first", "6 models")
    assert [(each.images, each.models) for each in read_openings()] == [
        ("images", "first"),
        ("images", "second"),
        ("others", "first"),
    ]
    assert read_openings()[0].what == "6 models: vae, imagenet"


def test_a_missing_file_is_begun() -> None:
    assert read_openings() == []
    count_opening("images", "first", "6 models")
    assert protocol.OPENINGS.read_text().startswith(HEADER)
    assert [(each.images, each.models, each.what) for each in read_openings()] == [("images", "first", "6 models")]


def test_a_broken_record_is_refused() -> None:
    protocol.OPENINGS.write_text(HEADER + "2026,a\n")
    with pytest.raises(DataError, match=r"test_openings.csv: expected the columns .* wrong in \[2\]"):
        read_openings()
    protocol.LOCK.write_text("locked: {date: 1}")
    with pytest.raises(DataError, match=r"protocol.lock.yaml cannot be read .*dermflow lock"):
        read_lock()


def test_models_that_predict_other_classes_are_other_models_and_other_last_digits_are_not() -> None:
    table = pd.DataFrame({"image_id": ["b", "a"], "split": "test", "p_x": [0.2, 0.7], "p_y": [0.8, 0.3]})
    same = models_sha256({"run": table})
    assert models_sha256({"run": table.iloc[::-1].assign(p_x=[0.7 + 1e-9, 0.2])}) == same
    assert models_sha256({"run": table.assign(p_x=[0.9, 0.7])}) != same
    assert models_sha256({"other": table}) != same


def test_lock_writes_the_protocol_once_and_commits_it(
    repo: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(repo / "params.yaml", folder)
    shutil.copy(repo / "dvc.yaml", folder)
    protocol.LOCK.write_text("locked: null\n")
    assert read_lock() is None
    for command in (["init", "-q"], ["add", "protocol.lock.yaml"], ["commit", "-qm", "start"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], check=True)
    assert "commit it: git commit" in lock(again=False, commit=False)[-1]
    locked = read_lock()
    assert locked is not None and locked.openings == 0 and locked.images is None
    assert "compare.margin = 0.02" in locked.settings and len(locked.commit) == 40
    with pytest.raises(SettingsError, match=r"a protocol was locked on .*`dermflow lock --again` replaces it"):
        lock(again=False, commit=False)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b")
    Path("notes.txt").write_text("not part of the protocol")
    subprocess.run(["git", "add", "notes.txt"], check=True)
    committed = lock(again=True, commit=True)[-1]
    shown = subprocess.run(
        ["git", "show", "--stat", "--format=%H %s"], check=True, capture_output=True, text=True
    ).stdout
    head, _, files = shown.partition("\n")
    assert committed == f"committed as {head[:12]}" and "Protocol locked: " in head
    assert "protocol.lock.yaml" in files and "notes.txt" not in files
