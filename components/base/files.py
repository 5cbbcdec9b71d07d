"""Outputs appear whole or not at all, and a disk that refuses them is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from components.base.errors import DataError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write a file or a folder to; it becomes `path`, replacing what stood there, if nothing raised.

    A full disk or missing permission raises DataError, whose cause is the OSError.
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
            f"{path}: cannot be written ({error.strerror or error}); free space there, mend the permissions, "
            "or set another path under paths (params.yaml)"
        ) from error
