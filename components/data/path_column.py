"""Paths that a table gives, as the files are named on this machine's disk.

Tables come from other systems: with backslashes, a leading `./`, letters composed or decomposed, another case. Such a
path is taken where exactly one file is meant. An absolute path is never opened, and a path is never completed by a
guess: what is not found stays as it is, and validation names the nearest file that exists (`similar_files`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from components.base.normal_form import clean, clean_path
from components.data.file_tree import list_files
from components.data.read_report import ReadReport

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*://")


def is_absolute(path: str) -> bool:
    """Whether a path names a place on a whole machine or in a network: `/mnt/a.jpg`, `C:\\a.jpg`, `https://...`."""
    return _ABSOLUTE.match(path) is not None


def resolve_paths(
    given: Iterable[str],
    root: Path,
    report: ReadReport,
    *,
    otherwise: Iterable[str] | None = None,
    replace_start: Mapping[str, str] | None = None,
) -> list[str]:
    """The path on the disk for each path of a table.

    Args:
        given: paths of the table; empty ones stay empty.
        root: folder of the data set.
        report: gets how many paths were written in another way, and a warning where case was ignored.
        otherwise: for each path another spelling, which counts where no file has the first.
        replace_start: start of a path in the table -> what stands there on this machine.

    Returns:
        Paths for `sources.read_bytes`, in the order of `given`. One that no file has keeps its words, with slashes.
    """
    rows = list(given)
    moved = [_with_other_start(path, replace_start or {}) for path in rows]
    spellings = list(zip(moved, moved if otherwise is None else otherwise, strict=True))
    folder = _Folder([file.path for file in list_files(root)], [path for each in spellings for path in each])
    found = {each: folder.find(each) for each in dict.fromkeys(spellings)}
    paths = [found[each] for each in spellings]
    report.count_changed("path", sum(path != row for path, row in zip(paths, rows, strict=True)))
    if folder.by_case:
        report.warn(
            "other_case",
            len(folder.by_case),
            f"{len(folder.by_case)} images were found by paths that differ in upper and lower case from the table's",
            (f"{path!r} is {file!r}" for path, file in folder.by_case.items()),
        )
    return paths


class _Folder:
    """The files of a folder, to be found by the paths of a table."""

    def __init__(self, files: list[str], asked: list[str]) -> None:
        self._exact = set(files)
        self._forms = _groups((clean_path(file), file) for file in files)
        self._cases = _groups((form.casefold(), form) for form in self._forms)
        self._asked = Counter(form.casefold() for form in {clean_path(path) for path in asked})
        self.by_case: dict[str, str] = {}
        """Path of the table -> the file found without regard to case."""

    def find(self, spellings: tuple[str, str]) -> str:
        """The file that one of the spellings names, else the first spelling with slashes."""
        paths = [path if path in self._exact or is_absolute(path) else _tidy(path) for path in spellings]
        for path in paths:
            if is_absolute(path) or not path:
                return path
            if path in self._exact:
                return path
            if len(files := self._forms.get(clean_path(path), [])) == 1:
                return files[0]
        for path in paths:
            key = clean_path(path).casefold()
            forms = self._cases.get(key, [])
            if len(forms) == 1 and len(self._forms[forms[0]]) == 1 and self._asked[key] == 1:
                self.by_case[path] = self._forms[forms[0]][0]
                return self.by_case[path]
        return paths[0]


def _groups(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _with_other_start(path: str, replace: Mapping[str, str]) -> str:
    """The path with its longest start of `replace` replaced; slashes and backslashes count as equal."""
    slashes = path.replace("\\", "/")
    for start, other in sorted(replace.items(), key=lambda pair: -len(pair[0])):
        form = start.replace("\\", "/")
        if clean(slashes).startswith(clean(form)):
            return other + clean(slashes)[len(clean(form)) :]
    return path


def _tidy(path: str) -> str:
    """With slashes, without `.` and empty parts, without outer blanks."""
    return "/".join(part for part in path.replace("\\", "/").strip().split("/") if part not in ("", "."))
