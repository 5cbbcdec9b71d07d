"""Git commands of a checkout, and why its commit is not known where it is not; no other module starts git."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.base.errors import RunError

FOREIGN_OWNER = re.compile(r"dubious ownership in repository at '(.+?)'|unsafe repository \('(.+?)' is owned")
LOST_FOLDER = re.compile(r"not a git repository: (.+)")  # the target of a worktree's or submodule's file .git
COMMIT_ALL = "git add -A && git commit -m 'Dermflow as unpacked'"

Unknown = Literal[
    "no git", "no repository", "lost repository", "another repository", "foreign owner", "no commit", "error of git"
]


@dataclass(frozen=True)
class Commit:
    """The commit of a checkout, or why it is not known and what to do."""

    sha: str  # "" where it is not known
    unknown: Unknown | None = None
    found: str = ""  # a sentence: what git says
    fix: str = ""  # commands that make the commit known


def find_commit(folder: Path) -> Commit:
    """The commit that the code in a checkout's root folder was made from.

    A checkout that was unpacked inside another repository has no commit: git would give that of the other repository,
    which does not hold this code. Where the other one tracks this folder, its commit is this code's, too.
    """
    if not shutil.which("git"):
        return Commit("", "no git", "git is not installed", "install git")
    try:
        top = Path(os.fsdecode(run_git("rev-parse", "--show-toplevel", folder=folder).removesuffix(b"\n")))
    except RunError as error:
        return _explain(str(error), folder)
    if not top.samefile(folder) and not _tracks(folder):
        return Commit(
            "", "another repository", f"git finds the repository {top}, which does not track {folder}",
            f"give the checkout a repository of its own: {_make_repository(folder)}; or move it elsewhere",
        )  # fmt: skip
    try:
        return Commit(run_git("rev-parse", "--verify", "--quiet", "HEAD", folder=folder).decode().strip())
    except RunError:
        return Commit("", "no commit", f"the repository {top} has no commit yet", f"cd {_quote(top)} && {COMMIT_ALL}")


CODE = ("flows", "components", "params.yaml", "dvc.yaml", "presets", "pyproject.toml")
"""What a result is made from, apart from data."""


@dataclass(frozen=True)
class Origin:
    """What the code of a result was."""

    sha: str  # "" where no commit is known
    date: str  # of the commit, ISO 8601, a day
    changed: bool  # whether CODE has changes that are in no commit


def describe_commit(folder: Path) -> Origin:
    """The commit of a checkout's root folder, its day in UTC, and whether its code is changed."""
    sha = find_commit(folder).sha
    if not sha:
        return Origin("", "", False)
    date = run_git(
        "show", "-s", "--format=%cd", "--date=format-local:%Y-%m-%d", sha, folder=folder, environment={"TZ": "UTC"}
    )
    known = [name for name in CODE if (folder / name).exists()]
    return Origin(sha, date.decode().strip(), bool(run_git("status", "--porcelain", "--", *known, folder=folder)))


def _tracks(folder: Path) -> bool:
    """Whether the repository that git finds tracks the graph of this checkout."""
    try:
        return bool(run_git("ls-files", "--", "dvc.yaml", folder=folder))
    except RunError:
        return False


def _explain(message: str, folder: Path) -> Commit:
    """Why git gives no root folder, from its message in English."""
    own = _make_repository(folder)
    if owned := FOREIGN_OWNER.search(message):
        top = owned[1] or owned[2]
        allow = (
            f"git config --global --add safe.directory {_quote(top)}; or own it: sudo chown -R $(id -u) {_quote(top)}"
        )
        return Commit(
            "", "foreign owner", f"the repository {top} belongs to another user, so git does not read it",
            allow if Path(top).resolve() == folder.resolve() else f"give the checkout a repository of its own: {own}",
        )  # fmt: skip
    if lost := LOST_FOLDER.search(message):
        return Commit(
            "", "lost repository", f"{folder / '.git'} names {lost[1].strip()}, which does not exist: one was moved",
            f"in the repository that this worktree belongs to: git worktree repair {_quote(folder)}",
        )  # fmt: skip
    if "not a git repository" in message:
        return Commit(
            "", "no repository", f"{folder} is no git repository, as after unpacking an archive",
            f"clone the repository with git instead, or make one: {own}",
        )  # fmt: skip
    return Commit("", "error of git", message, f"find out with: cd {_quote(folder)} && git status")


def _make_repository(folder: Path) -> str:
    return f"cd {_quote(folder)} && git init && {COMMIT_ALL}"


def _quote(path: Path | str) -> str:
    return shlex.quote(str(path))


def run_git(
    *arguments: str,
    folder: Path | None = None,
    stdin: bytes | None = None,
    config: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Output of a git command, byte for byte.

    Args:
        *arguments: the command's arguments, such as `"rev-parse", "HEAD"`.
        folder: where git runs; the current folder by default.
        stdin: what git reads from standard input.
        config: settings of git for this command alone, such as `core.autocrlf`.
        environment: variables added to those of this process.

    Raises:
        RunError: with git's message, where git is not installed or the command fails.
    """
    options = [word for key, value in (config or {}).items() for word in ("-c", f"{key}={value}")]
    try:
        done = subprocess.run(
            ["git", *options, *arguments], cwd=folder, input=stdin, capture_output=True, check=False,
            env={**os.environ, "LC_ALL": "C", **(environment or {})},  # messages in English: some are read here
        )  # fmt: skip
    except OSError as error:
        raise RunError(f"git cannot be started: {error.strerror or error}") from error
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip()
        raise RunError(f"git {' '.join(arguments[:2])} in {folder or Path.cwd()} failed: {message}")
    return done.stdout


def read_git(*arguments: str) -> str:
    """Output of a git command in the current folder as text; empty where there is no git, no commit or no answer."""
    try:
        return run_git(*arguments).decode(errors="replace").strip()
    except RunError:
        return ""


def has_commit(folder: Path, commit: str) -> bool:
    """Whether the repository at `folder` holds the commit."""
    try:
        run_git("cat-file", "-e", f"{commit}^{{commit}}", folder=folder)
    except RunError:
        return False
    return True


def read_revision(revision: str, path: str) -> str:
    """A file's text at a git revision; empty where there is no such revision or file."""
    return read_git("show", f"{revision}:{path}")
