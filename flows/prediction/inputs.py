"""Which images a person means: files, folders with all images below, or a table with a column of paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from components.base.errors import DataError
from components.data.file_kinds import IMAGE
from components.data.file_tree import list_files
from components.data.image_formats import format_of_name
from components.data.path_column import is_absolute, resolve_paths
from components.data.read_report import ReadReport
from components.data.source_error import SourceError
from components.data.tables import SUFFIXES, read_header, read_table

COLUMN = "path"
"""Of a table, where no other is named."""


@dataclass(frozen=True)
class Inputs:
    """The images, each once, in the order in which they were named."""

    images: pd.DataFrame
    """`image` (as shown), `root` and `path` (of `sources.read_bytes`), `problem` (why it cannot be read; or empty)."""
    notes: tuple[str, ...] = field(default=())
    """What was left out, and how many."""


def find_images(named: Sequence[Path], column: str | None = None) -> Inputs:
    """The images that paths name.

    Args:
        named: files, folders (every image below, members of tars too) or tables (CSV, Excel, parquet ...), whose
            paths are relative to the table's folder.
        column: of the tables; None for COLUMN.

    Raises:
        DataError: where a path does not exist, a table lacks the column, or there is no image at all.
    """
    rows: list[tuple[str, str, str, str]] = []
    notes: list[str] = []
    for each in named:
        found, said = _find(each, column)
        rows += found
        notes += said
    images = pd.DataFrame(rows, columns=["image", "root", "path", "problem"], dtype="str")
    pairs = zip(images["root"], images["path"], strict=True)
    places = [os.path.abspath(f"{root}/{path}") for root, path in pairs]  # noqa: PTH100  # links are names of their own
    first = ~pd.Series(places).duplicated() | (images["path"] == "")  # rows without a path are each an error
    if not first.all():
        notes.append(f"{int((~first).sum())} images were named twice and get one row each")
    if images.empty:
        names = ", ".join(map(str, named))
        raise DataError(f"{names}: no image there; expected image files, a folder with images, or a table of paths")
    return Inputs(images[first].reset_index(drop=True), tuple(notes))


def _find(named: Path, column: str | None) -> tuple[list[tuple[str, str, str, str]], list[str]]:
    if named.is_dir():
        return _in_folder(named)
    if not named.exists():
        raise DataError(f"{named}: does not exist; expected an image, a folder or a table")
    if named.suffix.lower() in SUFFIXES and format_of_name(named.name) is None:
        return _in_table(named, column or COLUMN)
    file = named.resolve()  # a link that is named itself may lead anywhere
    return [(str(named), str(file.parent), file.name, "")], []


def _in_folder(folder: Path) -> tuple[list[tuple[str, str, str, str]], list[str]]:
    """Every file that a person would take for an image; those of a kind that is not read say so in their row."""
    try:
        files = list_files(folder)
    except SourceError as error:
        raise DataError(f"{folder}: {error}") from error
    rows = [
        (str(folder / file.path), str(folder), file.path, "" if file.kind == IMAGE else file.kind)
        for file in files
        if file.is_candidate
    ]
    others = len(files) - len(rows)
    return rows, [f"{folder}: {others} files are no images and were left out"] if others else []


def _in_table(file: Path, column: str) -> tuple[list[tuple[str, str, str, str]], list[str]]:
    if column not in read_header(file):
        raise DataError(
            f"{file}: has no column {column!r}, expected one of {read_header(file)} with the path of an image in each "
            "row; name it with --column"
        )
    report = ReadReport()
    given = read_table(file, [column], report)[column]
    paths = given.fillna("").tolist()
    if not all(path == "" or (not is_absolute(path) and (file.parent / path).is_file()) for path in paths):
        paths = resolve_paths(paths, file.parent, report)  # lists the whole folder
    rows = [
        (str(file.parent / path), str(file.parent), path, "" if path else f"{file.name} names no file in this row")
        for path in paths
    ]
    return rows, list(_sentences(report))


def _sentences(report: ReadReport) -> Iterable[str]:
    return (warning.message for warning in report.warnings)
