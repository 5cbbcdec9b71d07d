"""Lineage of a result: the git commit, and the content hashes that DVC recorded for every output in dvc.lock."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from components.base.errors import RunError
from flows.tracking.git import find_commit, read_git

if TYPE_CHECKING:
    from flows.settings import Settings

LOCK = Path("dvc.lock")
PAUSE_S = 0.01  # seconds between two reads of a file that is being written
SETTLED_S = 0.3  # seconds after which it counts as complete


def recorded_hashes() -> dict[str, str]:
    """Path -> DVC's md5 of every dependency and output in dvc.lock; empty before the first run."""
    return {entry["path"]: entry["md5"] for entry in _entries() if "md5" in entry}


def lock_bytes() -> bytes:
    """Content of dvc.lock, empty where there is none.

    DVC writes the file in place while other stages run, and on a busy machine its process can pause between two parts.
    So the file is read again until it has been the same, and not empty, for SETTLED_S seconds.

    Raises:
        RunError: where that does not happen within 10 s.
    """
    before, same = b"", 0
    for _ in range(int(10 / PAUSE_S)):
        if not LOCK.exists():
            return b""
        old = time.time() - LOCK.stat().st_mtime > SETTLED_S  # where the clock of the disk is ahead, reads are counted
        now = LOCK.read_bytes()
        same = same + 1 if now and now == before else 0
        if same * PAUSE_S >= SETTLED_S or (same and old):
            return now
        before = now
        time.sleep(PAUSE_S)
    raise RunError(f"{LOCK} is empty or keeps changing: expected DVC's lock file; find out which process writes it")


def _entries() -> Iterator[dict[str, str]]:
    lock = YAML(typ="safe").load(lock_bytes()) or {}
    for stage in (lock.get("stages") or {}).values():
        yield from stage.get("deps", [])
        yield from stage.get("outs", [])


def lineage_tags(settings: Settings) -> dict[str, str]:
    """MLflow tags: git commit, whether the tree has changes beyond it, md5 of dvc.lock, DVC's md5 of data and split.

    The tag `git.state` is "known", or why the commit is not known (`flows.tracking.git.Unknown`).
    """
    hashes = recorded_hashes()
    commit = find_commit(Path.cwd())
    changes = read_git("status", "--porcelain", "--untracked-files=no") if commit.sha else ""
    return {
        "git.commit": commit.sha or "none",
        "git.state": commit.unknown or "known",
        "git.dirty": str(bool(changes)).lower() if commit.sha else "unknown",
        "dvc.lock.md5": _md5(lock) if (lock := lock_bytes()) else "none",
        "dvc.data": hashes.get(str(settings.dataset.path), "none"),
        "dvc.split": hashes.get(str(settings.paths.split), "none"),
    }


def file_md5(path: Path) -> str:
    """Md5 of a file's content, in hexadecimal, as DVC records it."""
    return _md5(path.read_bytes())


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
