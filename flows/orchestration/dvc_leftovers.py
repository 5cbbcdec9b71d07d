"""What DVC processes leave when they are killed: a half written file, and locks of processes that no longer exist.

DVC writes dvc.lock and .dvc/tmp/rwlock in place, and reads neither when half of it is there. Each entry of rwlock names
the process that uses a path; DVC refuses a stage while a process with that number exists, also when the number has been
given to another program since. Checked on dvc 3.67.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import psutil
from dvc.exceptions import NotDvcRepoError
from dvc.lock import make_lock
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK
from dvc.rwlock import SCHEMA as RWLOCK_SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from voluptuous import Invalid

from components.base.errors import RunError
from components.base.files import write_text
from flows.tracking.lineage import LOCK

HEAD = "schema: '2.0'\nstages:\n"
STAGE_NAME = re.compile(r"  \S")
"""A line of dvc.lock that begins the entry of a stage."""

CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
"""A line that git writes where two branches changed the same lines."""


def repair_leftovers(root: Path) -> list[str]:
    """Remove what killed DVC processes left in a checkout; no other run may work there.

    Returns:
        What was repaired, one sentence each.

    Raises:
        RunError: where dvc.lock cannot be read for another reason.
    """
    lines = []
    try:
        repo = Repo(str(root), _wait_for_lock=True)
    except NotDvcRepoError:
        return []
    with repo:
        folder = Path(repo.tmp_dir)
        with _rwlock_guard(repo):
            lines += _repair_rwlock(folder / RWLOCK_FILE, root)
        with repo.lock:  # DVC holds it while it writes dvc.lock
            kept = keep_whole_stages(root / LOCK)
    if kept is not None:
        lines.append(
            f"{LOCK} was half written by a process that was killed: its first {kept} stages are kept, the others run "
            f"again. To begin from the last commit instead: `git checkout -- {LOCK}`"
        )
    return lines


def _rwlock_guard(repo: Any) -> Any:
    """The lock that DVC holds while it changes rwlock."""
    hardlink = repo.config["core"].get("hardlink_lock", False)
    return make_lock(str(Path(repo.tmp_dir) / RWLOCK_LOCK), tmp_dir=repo.tmp_dir, hardlink_lock=hardlink)


def _repair_rwlock(path: Path, root: Path) -> list[str]:
    """Remove a file that is half written, and from a whole one the entries of processes that no longer work here."""
    if not path.exists():
        return []
    try:
        held: dict[str, Any] = RWLOCK_SCHEMA(json.loads(path.read_text("utf-8")))
    except (ValueError, Invalid):
        path.unlink()
        return [f"DVC's file {path.name} was half written by a process that was killed: it is removed"]
    readers, writers = held["read"], held["write"]
    users = [*writers.values(), *(user for users in readers.values() for user in users)]
    gone = {user["pid"] for user in users if not _works_here(user["pid"], root)}
    if not gone:
        return []
    left = {place: [user for user in users if user["pid"] not in gone] for place, users in readers.items()}
    kept = {
        "read": {place: users for place, users in left.items() if users},
        "write": {place: user for place, user in writers.items() if user["pid"] not in gone},
    }
    write_text(path, json.dumps(kept))
    numbers = ", ".join(map(str, sorted(gone)))
    return [f"locks of DVC processes that were killed are removed (process {numbers})"]


def _works_here(pid: int, root: Path) -> bool:
    """Whether a process can be the one that took a lock of this checkout; one that may not be looked at can be."""
    try:
        process = psutil.Process(pid)
        folder = Path(process.cwd())
        return folder.is_relative_to(root.resolve()) or any("dvc" in word for word in process.cmdline())
    except psutil.AccessDenied:
        return True
    except psutil.Error:  # it ended
        return False


def keep_whole_stages(lock: Path) -> int | None:
    """Keep the whole stages of a half written dvc.lock. All that stood behind them is lost; those stages run again.

    Returns:
        The number of stages that are kept; None where the file is whole or missing.

    Raises:
        RunError: where the file cannot be read, and not because it was half written.
    """
    if not lock.exists():
        return None
    text = lock.read_text("utf-8", errors="replace")
    fault = _fault(text)
    if fault is None:
        return None
    if CONFLICT.search(text):
        raise RunError(
            f"{lock.name} holds the marks of a merge conflict, so DVC cannot read it. Take one side, with "
            f"`git checkout --ours {lock.name}` or `--theirs`; the next run makes the stages that differ from it"
        )
    lines = text.splitlines(keepends=True)
    starts = [place for place, line in enumerate(lines) if STAGE_NAME.match(line)]
    if HEAD.startswith(text.rstrip(" ")) or (len(starts) == 1 and text.startswith(HEAD)):
        lock.unlink()
        return 0
    whole = "".join(lines[: starts[-1]]) if starts else ""
    if _fault(whole) is not None:
        raise RunError(
            f"{lock.name} cannot be read: {fault}. Restore it with `git checkout -- {lock.name}`; the next run makes "
            "the stages that differ from it"
        )
    write_text(lock, whole)
    return len(starts) - 1


def _fault(text: str) -> str | None:
    """Why DVC cannot read a dvc.lock with this content; None where it can."""
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text))
    except (YAMLError, Invalid) as error:
        return " ".join(str(error).split())
    return None
