"""Git commands of a checkout; no other module starts git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from components.base.errors import RunError


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
            env={**os.environ, **(environment or {})},
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
