"""Where a result comes from: the commit and the content hashes that DVC recorded for every output."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

from components.base.errors import RunError
from flows.settings import Settings

LOCK = Path("dvc.lock")


def recorded_hashes() -> dict[str, str]:
    """Path -> DVC's md5 of every dependency and output in dvc.lock; empty before the first run."""
    return {entry["path"]: entry["md5"] for entry in _entries() if "md5" in entry}


def lock_bytes() -> bytes:
    """dvc.lock as it stands, empty where there is none.

    DVC writes it in place while other stages run: what is empty or changes within a moment is read again.
    """
    before = b""
    for _ in range(500):
        if not LOCK.exists():
            return b""
        now = LOCK.read_bytes()
        if now and now == before:
            return now
        before = now
        time.sleep(0.01)
    raise RunError(f"{LOCK} changes all the time or is empty: expected DVC's lock file; see what else writes it")


def _entries() -> Iterator[dict[str, str]]:
    lock = YAML(typ="safe").load(lock_bytes()) or {}
    for stage in (lock.get("stages") or {}).values():
        yield from stage.get("deps", [])
        yield from stage.get("outs", [])


def lineage_tags(settings: Settings) -> dict[str, str]:
    """Git commit, whether the tree was changed since, and DVC's hashes of data, split and the whole lock."""
    hashes = recorded_hashes()
    return {
        "git.commit": _git("rev-parse", "HEAD") or "none",
        "git.dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower(),
        "dvc.lock.md5": _md5(lock) if (lock := lock_bytes()) else "none",
        "dvc.data": hashes.get(str(settings.dataset.path), "none"),
        "dvc.split": hashes.get(str(settings.paths.split), "none"),
    }


def file_md5(path: Path) -> str:
    """Content hash as DVC records it for a file."""
    return _md5(path.read_bytes())


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def read_revision(revision: str, path: str) -> str:
    """A file's text as git has it at a revision; empty where there is no such revision or file."""
    return _git("show", f"{revision}:{path}")


def _git(*arguments: str) -> str:
    """Git's answer, empty where there is no git or no commit."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
