"""The record of promotions: lines of JSON, each with the sha256 of the line before it, so that a change is found.

The first line refers to START. Lines are only ever added; what reads them verifies the whole chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from components.base.errors import DataError

START = "0" * 64
PREVIOUS, NUMBER = "previous", "entry"

RESTORE = "restore the file from a copy; nothing is promoted while the record is not whole"


def link(entries: Sequence[Mapping[str, Any]], content: Mapping[str, Any]) -> dict[str, Any]:
    """The next entry: `content` with its number, from 1, and the hash of the entry before."""
    before = hash_entry(entries[-1]) if entries else START
    return {NUMBER: len(entries) + 1, **content, PREVIOUS: before}


def as_line(entry: Mapping[str, Any]) -> str:
    """An entry as the record holds it: sorted keys, so that equal entries have equal hashes."""
    return json.dumps(entry, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def hash_entry(entry: Mapping[str, Any]) -> str:
    """Sha256 of its line."""
    return hashlib.sha256(as_line(entry).encode()).hexdigest()


def read_entries(text: str, origin: str) -> list[dict[str, Any]]:
    """The verified entries.

    Args:
        text: content of the record.
        origin: its path, for messages.

    Raises:
        DataError: names the first line that was changed, removed or added by another way than `link`.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        entry = _parse(line, f"{origin}, line {number}")
        expected = hash_entry(found[-1]) if found else START
        if (entry.get(NUMBER), entry.get(PREVIOUS)) != (number, expected):
            raise DataError(
                f"{origin}, line {number}: is entry {entry.get(NUMBER)!r} after {str(entry.get(PREVIOUS))[:12]}, "
                f"expected entry {number} after {expected[:12]}: this line or the one before was changed or removed; "
                f"{RESTORE}"
            )
        found.append(entry)
    return found


def _parse(line: str, place: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place}: is not JSON ({error}); {RESTORE}") from error
    if not isinstance(entry, dict) or as_line(entry) != line:
        raise DataError(f"{place}: is not written as Dermflow writes it; {RESTORE}")
    return entry


def check_head(entries: Sequence[Mapping[str, Any]], head: str | None, origin: str) -> None:
    """Compare the record with the hash of its last promotion, which is also kept in MLflow.

    A chain alone does not show that its last lines are gone.

    Raises:
        DataError: where the entry with this hash is not there.
    """
    if head is not None and head not in {hash_entry(entry) for entry in entries}:
        raise DataError(f"{origin}: lacks the entry {head[:12]} that MLflow names: lines were removed; {RESTORE}")
