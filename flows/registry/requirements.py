"""The packages that a registered model needs, with the versions of `requirements.lock`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from components.base.errors import RunError

LOCK = Path("requirements.lock")

NEEDED = (
    "mlflow", "numpy", "opencv-python-headless", "pandas", "pillow", "pyarrow", "pydantic", "safetensors", "scipy",
    "simplejpeg", "timm", "torch", "torchvision",
)  # fmt: skip
"""What `components.deployment.pyfunc` imports, besides what these packages require themselves."""


def pinned(names: Iterable[str] = NEEDED, lock: Path = LOCK) -> list[str]:
    """A line `name==version` for each name, with its marker where a version depends on Python or the platform.

    Raises:
        RunError: where the lock cannot be read or lacks a package.
    """
    try:
        entries = list(_entries(lock.read_text("utf-8")))
    except OSError as error:
        raise RunError(f"{lock}: cannot be read ({error.strerror}); run from the repository's root") from error
    found = {name: [line for package, line in entries if package == name] for name in names}
    missing = [name for name, lines in found.items() if not lines]
    if missing:
        raise RunError(f"{lock}: has no version of {', '.join(missing)}, which a registered model needs; `make lock`")
    return [line for lines in found.values() for line in lines]


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Package and requirement of each entry, without hashes."""
    for line in text.splitlines():
        name, mark, _ = line.partition("==")
        if mark and not line[:1].isspace():
            yield name, line.removesuffix("\\").rstrip()
