"""The code that runs is that of the current checkout; an environment of another folder is named, with a command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.base.errors import RunError, SettingsError
from flows.orchestration.processes import checkout_id, former_ids
from flows.settings.data import Privacy
from flows.stage_io.pseudonym_key import key_file, read_key
from flows.tracking.checkout import check_own_code, real_root, stale_environment


def make_checkout(folder: Path) -> Path:
    """A folder with the file by which a checkout of Dermflow is known."""
    (folder / "flows" / "commands").mkdir(parents=True)
    (folder / "flows" / "commands" / "cli.py").touch()
    return folder


def make_environment(root: Path, made_for: Path) -> Path:
    """What pip and uv leave in an environment where a folder was installed as editable."""
    packages = root / ".venv" / "lib" / "python3.11" / "site-packages"
    record = packages / "dermflow-0.1.0.dist-info" / "direct_url.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"url": made_for.resolve().as_uri(), "dir_info": {"editable": True}}))
    (packages / "_editable_impl_dermflow.pth").write_text(f"{made_for}\n{made_for}")  # one line for each package
    return packages


def test_this_checkout_runs_its_own_code(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (repo, tmp_path):  # also where there is no checkout at all
        monkeypatch.chdir(folder)
        check_own_code()


def test_code_of_another_checkout_is_refused_with_the_command(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = make_checkout(tmp_path / "copy of it")
    monkeypatch.chdir(copy)
    with pytest.raises(RunError) as caught:
        check_own_code()
    assert f"this checkout is {copy}, but the code that runs is that of {repo}" in str(caught.value)
    assert "`make setup`" in str(caught.value)
    packages = make_environment(copy, made_for=repo)
    with pytest.raises(RunError, match=r"`rm -rf .venv && make setup`"):
        check_own_code()
    shutil.rmtree(packages)
    make_environment(copy, made_for=copy)
    with pytest.raises(RunError, match=r"use this checkout's own .venv/bin/dermflow"):
        check_own_code()


@pytest.mark.parametrize("words", [["flows.commands.cli", "status"], ["flows.pipeline"], ["flows.split"]])
def test_no_command_works_in_a_copy_with_the_code_of_the_original(words: list[str], tmp_path: Path, repo: Path) -> None:
    """As an environment that was copied runs it: the original's code is imported, the copy is the current folder."""
    copy = make_checkout(tmp_path / "copy")
    shutil.copy(repo / "params.yaml", copy / "params.yaml")
    code = f"import sys, runpy; sys.argv[1:] = {words[1:]!r}; runpy.run_module({words[0]!r}, run_name='__main__')"
    given = {**os.environ, "PYTHONPATH": str(repo), "PYTHONSAFEPATH": "1", "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert f"this checkout is {copy}, but the code that runs is that of {repo}" in done.stderr


def test_an_environment_says_which_folder_it_was_made_for(tmp_path: Path) -> None:
    root = make_checkout(tmp_path / "check out")
    assert stale_environment(root) == ""  # there is none
    make_environment(root, made_for=root)
    assert stale_environment(root) == ""
    (tmp_path / "link").symlink_to(root)
    assert stale_environment(tmp_path / "link") == ""
    root.rename(tmp_path / "moved")
    assert stale_environment(tmp_path / "moved") == (
        f"{tmp_path / 'moved' / '.venv'} was made for {root}, whose code its programs run"
    )


@pytest.mark.parametrize("only_begun", [False, True])
def test_make_refuses_an_environment_of_another_folder(tmp_path: Path, repo: Path, only_begun: bool) -> None:
    """`make` with the real Makefile; an environment that was only begun is known by the command that made it."""
    root = make_checkout(tmp_path / "check out")
    shutil.copy(repo / "Makefile", root / "Makefile")
    for name in ("requirements.lock", "pyproject.toml"):
        (root / name).touch()
    if only_begun:
        (root / ".venv").mkdir()
        (root / ".venv" / "pyvenv.cfg").write_text(f"command = /usr/bin/python3 -m venv --clear {root}/.venv\n")
    else:
        make_environment(root, made_for=root)
    (root / ".venv" / ".ready").touch()

    def make(folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["make", "setup"], cwd=folder, capture_output=True, text=True, check=False)

    assert make(root).returncode == 0
    shutil.copytree(root, tmp_path / "copy")
    root.rename(tmp_path / "moved")
    for folder in (tmp_path / "copy", tmp_path / "moved"):
        done = make(folder)
        assert done.returncode == 2
        assert f".venv was made for {root}, and this checkout is {folder}" in done.stdout
        assert "Build it again here: rm -rf .venv && make setup" in done.stdout


def test_the_real_root_of_dvcs_temporary_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (".dvc/tmp/exps/standalone/tmpa", ".dvc/tmp/exps/tmpb", ".dvc/tmp/exps/tmpc/sub"):
        (tmp_path / place).mkdir(parents=True)
        monkeypatch.chdir(tmp_path / place)
        assert real_root() == tmp_path
    for place in ("exps/a", ".dvc/tmp/other", "tmp/exps/b"):
        (tmp_path / place).mkdir(parents=True)
        monkeypatch.chdir(tmp_path / place)
        assert real_root() == tmp_path / place


def test_a_relative_key_file_is_found_from_dvcs_temporary_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "checkout" / ".dvc" / "tmp" / "exps" / "tmp"
    copy.mkdir(parents=True)
    monkeypatch.setenv("DERMFLOW_KEY_FILE", "../keys/team")
    for folder in (tmp_path / "checkout", copy):
        monkeypatch.chdir(folder)
        assert key_file().resolve() == tmp_path / "keys" / "team"
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(tmp_path / "checkout" / "key"))
    with pytest.raises(SettingsError, match="is inside the repository"):
        read_key(Privacy(key="secret"))


def test_a_moved_checkout_knows_its_former_ids_and_a_copy_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    first.mkdir()
    monkeypatch.chdir(first)
    before = checkout_id()
    assert former_ids() == []
    shutil.copytree(first, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    assert checkout_id() != before and former_ids() == []
    first.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert checkout_id() != before and former_ids() == [before]
