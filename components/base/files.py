"""Atomic writes: a file or folder appears complete or not at all, and a write that fails names its path."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from components.base.errors import DataError


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
        scratch = Path(mkdtemp(prefix=f".{path.name}-", dir=path.parent))
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


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with `whole`."""
    with whole(path) as part:
        part.write_text(text, "utf-8")
