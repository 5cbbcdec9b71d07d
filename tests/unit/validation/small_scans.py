"""Scans of a few files, in this process or by an executor."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

from components.validation.image_facts import ImageFacts
from components.validation.scan import ScanResult, scan


def put(root: Path, name: str, data: bytes) -> str:
    (root / name).write_bytes(data)
    return name


def run(root: Path, paths: list[str], executor: Executor | None = None, **options: object) -> ScanResult:
    return scan(root, paths, executor, lambda items, total, what: items, **options)


def scan_file(root: Path, path: str) -> ImageFacts:
    """A scan of one."""
    row = run(root, [path]).facts.astype(object).iloc[0]
    return ImageFacts(**row.where(row.notna(), None))
