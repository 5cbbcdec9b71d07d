"""What killed DVC processes leave."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.fs import LocalFileSystem
from dvc.rwlock import rwlock
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML

from components.base.errors import RunError
from flows.orchestration.dvc_leftovers import keep_whole_stages, repair_leftovers
from flows.orchestration.graph import is_changed
from flows.orchestration.processes import stop_tree

LOCKED = """schema: '2.0'
stages:
  split:
    cmd: python -m flows.split
    outs:
    - path: data/split.csv
      md5: '01010101010101010101010101010101'
  pretrain@random-0:
    cmd: python -m flows.pretrain random 0
    outs:
    - path: data/encoders/random-0.safetensors
      md5: '45454545454545454545454545454545'
"""


def test_a_half_written_lock_keeps_its_whole_stages(tmp_path: Path) -> None:
    """Cut after every number of bytes that a killed process can leave."""
    lock, whole = tmp_path / "dvc.lock", YAML(typ="safe").load(LOCKED)["stages"]
    seen = set()
    for size in range(len(LOCKED) - 2):
        lock.write_text(LOCKED[:size])
        kept = keep_whole_stages(lock)
        left = YAML(typ="safe").load(lock.read_text()).get("stages", {}) if lock.exists() else {}
        seen.add(kept)
        if lock.exists():
            COMPILED_LOCKFILE_SCHEMA({"schema": "2.0", "stages": left})
        if kept is not None:
            assert len(left) == kept
            assert left == {name: whole[name] for name in left}
    assert seen >= {0, 1}
    lock.write_text(LOCKED)
    assert keep_whole_stages(lock) is None
    assert lock.read_text() == LOCKED
    assert keep_whole_stages(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            LOCKED.replace("  pretrain@", "<<<<<<< HEAD\n  pretrain@"),
            "marks of a merge conflict.*checkout --ours dvc.lock",
        ),
        (LOCKED.replace("    outs:", "   outs:", 1), "dvc.lock cannot be read: .*line 5.*git checkout -- dvc.lock"),
        ("stages: [1]\n", "dvc.lock cannot be read: .*git checkout -- dvc.lock"),
    ],
)
def test_a_lock_that_is_wrong_for_another_reason_is_kept(tmp_path: Path, text: str, words: str) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text(text)
    with pytest.raises(RunError, match=words):
        keep_whole_stages(lock)
    assert lock.read_text() == text


# --- rwlock, with DVC itself as the judge


@pytest.fixture
def rwlock_file(toy_checkout: Path) -> Iterator[Path]:
    path = toy_checkout / ".dvc" / "tmp" / "rwlock"
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[int]:
    """Number of a process that has nothing to do with the checkout."""
    process = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    yield process.pid
    stop_tree(process.pid)
    process.wait()


def test_a_half_written_rwlock_is_removed(rwlock_file: Path) -> None:
    rwlock_file.write_text('{"read": {"/a": [{"pi')
    with pytest.raises(RunError, match="JSON structure is corrupted"):
        is_changed("measure")
    (line,) = repair_leftovers(Path.cwd())
    assert "half written" in line
    assert is_changed("measure")
    assert repair_leftovers(Path.cwd()) == []


def test_locks_of_a_number_that_another_program_has_now_are_removed(rwlock_file: Path, stranger: int) -> None:
    measured = str(Path.cwd() / "data" / "lengths.csv")
    rwlock_file.write_text(json.dumps({"write": {measured: {"pid": stranger, "cmd": "dvc repro"}}, "read": {}}))
    with pytest.raises(RunError, match="is busy"):
        is_changed("measure")
    (line,) = repair_leftovers(Path.cwd())
    assert str(stranger) in line
    assert is_changed("measure")


def test_locks_of_a_process_that_works_here_are_kept(rwlock_file: Path, stranger: int) -> None:
    here, folder = str(Path.cwd() / "a"), str(rwlock_file.parent)
    with rwlock(folder, LocalFileSystem(), "dvc repro", [here], [], False):
        held = json.loads(rwlock_file.read_text())
        held["read"][here].append({"pid": stranger, "cmd": "dvc repro"})
        rwlock_file.write_text(json.dumps(held))
        assert len(repair_leftovers(Path.cwd())) == 1
        left = json.loads(rwlock_file.read_text())
    held["read"][here].pop()
    assert left == held
