"""Code changes and versions that a run is recorded with."""

from __future__ import annotations

import os
import re
from contextlib import chdir
from pathlib import Path

import pytest

from components.base.environment import CUDA_VARIABLE
from components.base.errors import RunError
from flows.settings import load_settings
from flows.tracking import mlflow_log
from flows.tracking.environment import (
    CODE_DIFF,
    ORIGIN_FOLDER,
    code_changes,
    count_gpus,
    differing_packages,
    unused_gpu_entries,
    usable_gpus,
)
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


FIRST, SECOND = "GPU-0f2ad4ac-8b53-4b5f", "GPU-1c3de5f6-4c1e-4d2a"
PART = "MIG-7a1b2c3d-5f4e-5a6b"
LISTING = f"""GPU 0: NVIDIA H100 (UUID: {FIRST})
  MIG 1g.10gb     Device  0: (UUID: {PART})
GPU 1: NVIDIA H100 (UUID: {SECOND})
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name, first in PATH, that lists two GPUs; CUDA_VISIBLE_DEVICES is not set."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    (tmp_path / "listing").write_text(LISTING)
    program.write_text(f"#!/bin/sh\ncat '{tmp_path / 'listing'}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(CUDA_VARIABLE, raising=False)
    return tmp_path / "listing"


@pytest.mark.parametrize(
    ("text", "entries", "uuids"),
    [
        (None, ["0", "1"], [FIRST, SECOND]),
        ("1,0", ["1", "0"], [SECOND, FIRST]),
        ("1", ["1"], [SECOND]),
        ("", [], []),
        ("-1", [], []),
        ("1,2,0", ["1"], [SECOND]),
        ("GPU-1c3d,GPU-0f2a", ["GPU-1c3d", "GPU-0f2a"], [SECOND, FIRST]),
        ("GPU-ffff", [], []),
        (PART, [PART], [PART]),
        ("MIG-ffff", [], []),
        ("MIG-GPU-0f2ad4ac/1/0", ["MIG-GPU-0f2ad4ac/1/0"], ["MIG-GPU-0f2ad4ac/1/0"]),
    ],
)
def test_the_gpus_are_those_of_the_host_that_a_person_allows(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, entries: list[str], uuids: list[str]
) -> None:
    if text is not None:
        monkeypatch.setenv(CUDA_VARIABLE, text)
    found = usable_gpus("auto")
    assert ([gpu.entry for gpu in found], [gpu.uuid for gpu in found]) == (entries, uuids)
    assert (count_gpus("auto"), count_gpus("cpu")) == (len(entries), 0)


def test_an_entry_that_names_no_gpu_is_named(nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unused_gpu_entries() == ""
    for text, used in (("1,2", "1"), ("GPU-ffff", "nothing"), ("0,0", "nothing")):
        monkeypatch.setenv(CUDA_VARIABLE, text)
        assert f"CUDA_VISIBLE_DEVICES = '{text}': used of it is {used}; " in unused_gpu_entries()
    for text in ("", "-1", "1,0"):
        monkeypatch.setenv(CUDA_VARIABLE, text)
        assert unused_gpu_entries() == ""
    nvidia_smi.write_text("")  # a host without GPUs
    monkeypatch.setenv(CUDA_VARIABLE, "0")
    assert unused_gpu_entries() == "" and usable_gpus("auto") == []
