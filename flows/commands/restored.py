"""Files that keep their former content where a command fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.base.files import whole


@contextmanager
def restored(*files: Path) -> Iterator[None]:
    """Where the block raises, also by Ctrl-C, each file gets its former content back; a new one is removed."""
    former = {file: file.read_bytes() if file.exists() else None for file in files}
    try:
        yield
    except BaseException:
        for file, content in former.items():
            if content is None:
                file.unlink(missing_ok=True)
            elif not file.exists() or file.read_bytes() != content:
                with whole(file) as part:
                    part.write_bytes(content)
        raise
