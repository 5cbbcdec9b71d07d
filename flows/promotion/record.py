"""The file of the record of promotions, `mlruns/promotions.jsonl`: who, when, what and why."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.deployment.promotion_record import as_line, link, read_entries
from flows.tracking.git import read_git
from flows.tracking.mlflow_log import mlruns_folder

NAME = "promotions.jsonl"


@dataclass(frozen=True)
class Record:
    """The verified entries of the file; the caller of `append` holds the lock of promotions."""

    path: Path
    entries: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls) -> Record:
        """The record of this checkout; empty where there is none.

        Raises:
            DataError: where a line was changed or removed.
        """
        path = mlruns_folder() / NAME
        text = path.read_text("utf-8") if path.exists() else ""
        return cls(path, tuple(read_entries(text, str(path))))

    def next(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """The entry that would follow, with who and when; nothing is written."""
        return link(self.entries, {"kind": kind, "when": _now(), "who": _person(), **content})

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add an entry of `next`, on the disk when this returns; after an error the file is as before."""
        self.path.parent.mkdir(exist_ok=True)
        size = self.path.stat().st_size if self.path.exists() else 0
        with self.path.open("ab") as file:
            try:
                file.write(as_line(entry).encode())
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                os.truncate(self.path, size)
                raise


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _person() -> dict[str, str]:
    """Name and address that git has, and the user of the operating system."""
    return {
        "name": read_git("config", "user.name"),
        "email": read_git("config", "user.email"),
        "user": getpass.getuser(),
    }
