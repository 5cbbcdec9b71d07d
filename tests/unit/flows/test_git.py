"""Why a checkout's commit is not known: each case is told apart, by git itself, with the commands that help."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from components.base.errors import RunError
from flows.commands.doctor import examine
from flows.reproduction.workspace import clone
from flows.settings import load_settings
from flows.tracking import mlflow_log
from flows.tracking.environment import CODE_DIFF, code_changes
from flows.tracking.git import Commit, find_commit
from flows.tracking.mlflow_log import PARENT_VARIABLE, open_client


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Git without the user's configuration, and without repositories above the test's folder."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.delenv(PARENT_VARIABLE, raising=False)


def git(folder: Path, *words: str) -> str:
    name = ("-c", "user.name=t", "-c", "user.email=t@t")
    return subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def unpack(folder: Path) -> Path:
    """A checkout without a repository, as an archive has it."""
    (folder / "flows").mkdir(parents=True)
    (folder / "flows" / "private.py").write_text("x = 1\n")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    return folder


def make_repository(folder: Path) -> str:
    """A repository of all that is in the folder, with one commit."""
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return git(folder, "rev-parse", "HEAD")


def test_a_commit_is_found_in_a_repository_and_in_a_detached_worktree(tmp_path: Path) -> None:
    own = unpack(tmp_path / "own")
    sha = make_repository(own)
    git(own, "worktree", "add", "-q", "--detach", str(tmp_path / "worktree"))
    assert find_commit(own) == find_commit(tmp_path / "worktree") == Commit(sha)


def test_a_folder_that_a_larger_repository_tracks_has_its_commit(tmp_path: Path) -> None:
    inner = unpack(tmp_path / "larger" / "dermflow")
    sha = make_repository(tmp_path / "larger")
    assert find_commit(inner) == Commit(sha)


def without_git(folder: Path, patch: pytest.MonkeyPatch) -> str:
    patch.setenv("PATH", str(folder.parent))
    return "install git"


def without_repository(folder: Path, patch: pytest.MonkeyPatch) -> str:
    return f"make one: cd {folder} && git init && git add -A && git commit"


def inside_another(folder: Path, patch: pytest.MonkeyPatch) -> str:
    (folder.parent / "readme").touch()
    git(folder.parent, "init", "-q")
    git(folder.parent, "add", "readme")
    git(folder.parent, "commit", "-qm", "theirs")
    return f"a repository of its own: cd {folder} && git init"


def of_a_foreign_owner(folder: Path, patch: pytest.MonkeyPatch) -> str:
    make_repository(folder)
    patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    return f"git config --global --add safe.directory {folder}"


def inside_one_of_a_foreign_owner(folder: Path, patch: pytest.MonkeyPatch) -> str:
    wanted = inside_another(folder, patch)
    patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    return wanted


def without_commit(folder: Path, patch: pytest.MonkeyPatch) -> str:
    git(folder, "init", "-q")
    return f"cd {folder} && git add -A && git commit"


def with_a_moved_repository(folder: Path, patch: pytest.MonkeyPatch) -> str:
    main = unpack(folder.parent / "main")
    make_repository(main)
    shutil.rmtree(folder)
    git(main, "worktree", "add", "-q", "--detach", str(folder))
    main.rename(folder.parent / "moved")
    return f"git worktree repair {folder}"


CASES: dict[str, tuple[Callable[[Path, pytest.MonkeyPatch], str], str]] = {
    "no git": (without_git, "git is not installed"),
    "no repository": (without_repository, "is no git repository, as after unpacking an archive"),
    "another repository": (inside_another, "which does not track"),
    "foreign owner": (of_a_foreign_owner, "belongs to another user"),
    "foreign owner outside": (inside_one_of_a_foreign_owner, "belongs to another user"),
    "no commit": (without_commit, "has no commit yet"),
    "lost repository": (with_a_moved_repository, "does not exist: one was moved"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_reason_is_told_apart_with_its_commands(
    case: str, tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `dermflow doctor`, in one line when a run starts, and by a tag in MLflow."""
    make, words = CASES[case]
    folder = unpack(tmp_path / "outer" / "checkout")
    wanted = make(folder, monkeypatch)
    shutil.copy(repo / "params.yaml", folder / "params.yaml")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    commit = find_commit(folder)
    assert (commit.sha, commit.unknown) == ("", case.removesuffix(" outside"))
    assert words in commit.found and wanted in commit.fix
    (check,) = [check for check in examine(folder) if check.what == "commit"]
    assert not check.passed and words in check.found and wanted in check.fix
    with mlflow_log.recorded_run(load_settings(), "average", {"stage": "average"}) as log:
        monkeypatch.setenv(PARENT_VARIABLE, log.run_id)
        with mlflow_log.recorded_run(load_settings(), "below", {"stage": "below"}):
            pass
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "WARNING" in line]
    assert words in line and wanted in line
    tags = open_client().get_run(log.run_id).data.tags
    known = [tags[name] for name in ("git.commit", "git.state", "git.dirty", CODE_DIFF)]
    assert known == ["none", case.removesuffix(" outside"), "unknown", "unknown"]
    assert code_changes(load_settings()) == b""


def test_after_the_commands_the_commit_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed commands are run as they are."""
    for variable in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(variable, "t")
    for case in ("no repository", "another repository", "no commit", "foreign owner"):
        folder = unpack(tmp_path / case / "check out")
        CASES[case][0](folder, monkeypatch)  # in a path with blanks
        fix = find_commit(folder).fix.split("; or ")[0]
        command = fix[fix.index("cd ") :] if "cd " in fix else fix
        subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True)
        assert find_commit(folder).unknown is None, case


def test_a_reproduction_says_why_no_commit_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = unpack(tmp_path / "checkout")
    of_a_foreign_owner(folder, monkeypatch)
    with pytest.raises(RunError, match=r"no commit of this checkout can be read: .* belongs to another user"):
        clone(folder, "0" * 40, tmp_path / "clone")
    assert not (tmp_path / "clone").exists()
