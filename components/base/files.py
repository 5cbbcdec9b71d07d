"""Atomic writes: a file or folder appears complete or not at all, and a write that fails names its path.

A process that is killed in the middle of a write leaves a temporary folder. Its name ends with SCRATCH, which
.dvcignore and .gitignore name, so that no output of a stage differs by it; the next write beside it removes it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from components.base.errors import DataError

SCRATCH = ".scratch"
_LEFT = re.compile(r"\..*\.(?P<host>[^.]+)\.(?P<pid>\d+)-[^.]+" + re.escape(SCRATCH))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path to write a file or a folder to; it replaces `path` when the block ends without an exception.

    Example: `with whole(path) as part: table.to_csv(part)`.

    Args:
        path: of the file or folder; folders above it are created.

    Yields:
        A path with the same name in a temporary folder next to `path`, so that the final rename stays on one disk.

    Raises:
        DataError: where the disk is full or a permission is missing; its cause is the OSError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path.parent)
        prefix = f".{path.name}.{_host()}.{os.getpid()}-"
        scratch = Path(mkdtemp(prefix=prefix, suffix=SCRATCH, dir=path.parent))
        try:
            yield scratch / path.name
            if path.is_dir():
                shutil.rmtree(path)
            (scratch / path.name).replace(path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror or error}); free space there, fix the permissions, "
            "or set another path under paths (params.yaml)"
        ) from error


def _remove_left(folder: Path) -> None:
    """Remove temporary folders of processes of this host that no longer run; others may share the disk."""
    for left in folder.glob(f".*{SCRATCH}"):
        found = _LEFT.fullmatch(left.name)
        if found and found["host"] == _host() and not _runs(int(found["pid"])):
            shutil.rmtree(left, ignore_errors=True)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node()) or "host"


def _runs(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid))


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with `whole`."""
    with whole(path) as part:
        part.write_text(text, "utf-8")
