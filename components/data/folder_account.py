"""Every file below a data set's folder is accounted for: used, without a row, or not read, with what to do.

The numbers in `ReadReport.files` add up to the number of files, members of tars and arrays of npz files counted as
files of their own; of an array with images each image counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path, PurePosixPath

import pandas as pd

from components.data import file_kinds as kinds
from components.data.file_tree import FoundFile, list_files
from components.data.image_formats import UNREAD, describe_unread, format_of_name, remedy_of
from components.data.path_column import is_absolute
from components.data.read_report import ReadReport
from components.data.similar_files import SimilarFile, SimilarFiles, common_starts

WITH_ROW = "images with a row"
WITHOUT_ROW = "images without a row"
TABLES_READ = "tables read"
OTHER_TABLES = "other tables"
ARRAYS_WITHOUT_ROW = "arrays without a row"

OWN_TABLES = frozenset({"accepted_by_hand.csv"})
"""Tables that Dermflow itself reads in the data set's folder."""
COMPARED = 1_000
"""Missing images whose most similar file is searched for the summary."""


def account_for_files(root: Path, used: pd.Series, report: ReadReport) -> None:
    """Count the files below a folder, each once, and warn of those that are left out and of images that are not there.

    Args:
        root: folder of the data set.
        used: paths of the rows, as for `sources.read_bytes`.
        report: its tables count as read; gets the counts in `files`, and a warning for each kind of file that is left
            out and may be an image.

    Raises:
        SourceError: for a tar that cannot be read.
    """
    files, rows = list_files(root), set(used)
    account = _Account(files, rows, {table.file for table in report.tables})
    report.files.update(sorted(account.counts().items()))
    for kind, remedy in kinds.REMEDIES.items():
        if found := [file.path for file in files if account.key(file) == kind]:
            report.warn(kind.replace(" ", "_"), len(found), f"{len(found)} {kind}: {remedy}", found)
    _warn_of_unread(files, report)
    if count := report.files.get(WITHOUT_ROW, 0):
        report.warn(
            "images_without_a_row",
            count,
            f"{count} images have no row in the table and are left out",
            account.without_row(),
        )
    _warn_of_missing(account.missing(root), len(used), files, report)


class _Account:
    """What each file of a folder counts as, given the rows of the data set."""

    def __init__(self, files: Sequence[FoundFile], rows: Set[str], tables: Set[str]) -> None:
        self._files, self._rows, self._tables = files, rows, tables
        self._paths = {file.path for file in files}
        self._of_arrays = Counter(str(PurePosixPath(path).parent) for path in rows if path not in self._paths)
        self._opened = {str(parent) for path in rows - self._paths for parent in PurePosixPath(path).parents}

    def key(self, file: FoundFile) -> str:
        """The name under which a file is counted."""
        if file.kind == kinds.IMAGE:
            has_row = file.path in self._rows or file.path in self._of_arrays  # itself, or a frame of it
            return WITH_ROW if has_row else WITHOUT_ROW
        if file.kind == kinds.UNREAD_IMAGE:
            return PurePosixPath(file.path).suffix.lower() if format_of_name(file.path) in UNREAD else file.kind
        if file.path in self._tables or file.path in OWN_TABLES:
            return TABLES_READ
        if file.path in self._rows and file.kind in _CAN_BE_NAMED:
            return WITH_ROW
        if file.path in self._opened:
            return kinds.OPENED_ARCHIVE
        return OTHER_TABLES if file.kind == kinds.TABLE else file.kind

    def counts(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for file in self._files:
            if file.kind == kinds.ARRAY:
                counts.update(self._count_array(file))
            else:
                counts[self.key(file)] += 1
        return +counts

    def _count_array(self, array: FoundFile) -> dict[str, int]:
        named = self._of_arrays[array.path]
        if not named:
            return {ARRAYS_WITHOUT_ROW: 1}
        return {WITH_ROW: named, WITHOUT_ROW: max(array.images - named, 0)}

    def without_row(self) -> Iterator[str]:
        return (file.path for file in self._files if self.key(file) == WITHOUT_ROW)

    def missing(self, root: Path) -> list[str]:
        """Paths of rows where no file is, and no member of an archive.

        Rows of arrays and tables and frames are not listed each: whether they are there is found when they are read.
        """
        holders = {file.path for file in self._files if file.kind in _HOLD_ROWS or _is_table(file)}
        unknown = (path for path in self._rows if path and path not in self._paths)
        inside = (path for path in unknown if not holders & {str(parent) for parent in PurePosixPath(path).parents})
        return sorted(path for path in inside if is_absolute(path) or not _leads_to_a_file(root, path))


_HOLD_ROWS = frozenset({kinds.ARRAY, kinds.ARRAY_FILE, kinds.IMAGE, kinds.TABLE})


def _is_table(file: FoundFile) -> bool:
    return file.kind == kinds.OPENED_ARCHIVE and file.path.lower().endswith((".parquet", ".arrow"))


_CAN_BE_NAMED = frozenset(
    {kinds.HIDDEN, kinds.SYSTEM, kinds.OTHER, kinds.DOCUMENT, kinds.TABLE, kinds.ARCHIVE, kinds.ARRAY_FILE, kinds.VIDEO,
     kinds.LEFTOVER, kinds.EMPTY}
)  # fmt: skip


def _leads_to_a_file(root: Path, path: str) -> bool:
    try:
        return (Path(root) / path).is_file()  # through a link to a folder
    except (OSError, ValueError):
        return False


def _warn_of_unread(files: Sequence[FoundFile], report: ReadReport) -> None:
    by_format: dict[str, list[str]] = {}
    for file in files:
        if file.kind == kinds.UNREAD_IMAGE:
            by_format.setdefault(format_of_name(file.path) or "", []).append(file.path)
    for form, paths in sorted(by_format.items()):
        suffixes = ", ".join(sorted({PurePosixPath(path).suffix.lower() for path in paths})) if form else "by content"
        words = describe_unread(form) if form else "an image of a format that is not read"
        remedy = remedy_of(form) if form else "convert it to JPEG or PNG"
        report.warn("images_not_read", len(paths), f"{len(paths)} files are each {words} ({suffixes}): {remedy}", paths)


def _warn_of_missing(missing: Sequence[str], rows: int, files: Sequence[FoundFile], report: ReadReport) -> None:
    if not missing:
        return
    similar = SimilarFiles(files)
    nearest = {path: similar.nearest(path) for path in missing[:COMPARED]}
    found = {path: file for path, file in nearest.items() if file is not None}
    reasons = Counter(file.difference for file in found.values())
    told = ", ".join(f"{difference} ({count})" for difference, count in reasons.most_common(3))
    report.warn(
        "missing_images",
        len(missing),
        f"{len(missing)} of {rows} rows name an image that is not there; "
        + (f"of the first {len(nearest)}, {len(found)} have a similar file: {told}" if found else "no file is similar"),
        [*_settings(found), *(f"{path!r}: {nearest[path] or 'no similar file'}" for path in missing[:COMPARED])],
    )


def _settings(found: dict[str, SimilarFile]) -> list[str]:
    """The setting that makes paths of another machine those of this one."""
    starts = common_starts((path, file.path) for path, file in found.items() if is_absolute(path))
    return [replacement(starts)] if starts else []


def replacement(starts: dict[str, str]) -> str:
    """`dataset.replace_start` as it stands in params.yaml."""
    first = dict(list(starts.items())[:3])
    return f"dataset.replace_start: {json.dumps(first, ensure_ascii=False)} (adapter table, params.yaml)"
