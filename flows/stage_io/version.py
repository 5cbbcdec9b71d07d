"""The version of Dermflow that made a result, as cards and bundles state it."""

from __future__ import annotations

import tomllib
from pathlib import Path

PROJECT = Path("pyproject.toml")


def read_version() -> str:
    """`project.version` of pyproject.toml."""
    return str(tomllib.loads(PROJECT.read_text("utf-8"))["project"]["version"])
