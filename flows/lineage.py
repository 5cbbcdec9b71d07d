"""Where a result comes from: the commit and the content hashes that DVC recorded for every output."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from flows.settings import Settings, read_yaml

LOCK = Path("dvc.lock")


def recorded_hashes() -> dict[str, str]:
    """Path -> DVC's md5 of every dependency and output in dvc.lock; empty before the first run."""
    return {entry["path"]: entry["md5"] for entry in _entries() if "md5" in entry}


def _entries() -> Iterator[dict[str, str]]:
    if not LOCK.exists():
        return
    lock = read_yaml(LOCK)
    assert isinstance(lock, dict)
    for stage in (lock.get("stages") or {}).values():
        yield from stage.get("deps", [])
        yield from stage.get("outs", [])


def lineage_tags(settings: Settings) -> dict[str, str]:
    """Git commit, whether the tree was changed since, and DVC's hashes of data, split and the whole lock."""
    hashes = recorded_hashes()
    return {
        "git.commit": _git("rev-parse", "HEAD") or "none",
        "git.dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower(),
        "dvc.lock.md5": file_md5(LOCK) if LOCK.exists() else "none",
        "dvc.data": hashes.get(str(settings.dataset.path), "none"),
        "dvc.split": hashes.get(str(settings.paths.split), "none"),
    }


def file_md5(path: Path) -> str:
    """Content hash as DVC records it for a file."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def read_revision(revision: str, path: str) -> str:
    """A file's text as git has it at a revision; empty where there is no such revision or file."""
    return _git("show", f"{revision}:{path}")


def _git(*arguments: str) -> str:
    """Git's answer, empty where there is no git or no commit."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
