"""The file that a person most likely means by a path that does not exist, for messages; never to open another file.

Rules from near to far, each a look-up in a table of all files, so that ten thousand missing images take a second. Only
where no rule fits, names next to each other in sorted order are compared letter by letter.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

from components.base.normal_form import clean, clean_path, fold
from components.data import file_kinds as kinds
from components.data.file_tree import FoundFile, list_files
from components.data.image_formats import image_name
from components.data.joins import bare_name

_MARKS = re.compile(r"[\W_]+")
_DIGITS = re.compile(r"\d+")
NEIGHBOURS = 12
"""Names before and after a name's place in sorted order that are compared letter by letter."""
CACHED = 65_536
"""Names whose forms are kept, as several rules need them."""
LEAST_SHARE = 0.75
"""Of letters in common, from which two names count as similar."""


@dataclass(frozen=True)
class SimilarFile:
    """A file that exists, and how its name differs from the one that was looked for."""

    path: str
    difference: str
    others: int
    """Further files of which the same is true."""

    def __str__(self) -> str:
        further = f", and {self.others} more" if self.others else ""
        return f"{self.path} ({self.difference}{further})"


@lru_cache(maxsize=CACHED)
def _stem(path: str) -> str:
    return clean(image_name(clean_path(path)))


@lru_cache(maxsize=CACHED)
def _name(path: str) -> str:
    return PurePosixPath(clean_path(path)).name


@lru_cache(maxsize=CACHED)
def _folded_stem(path: str) -> str:
    return fold(_stem(path))


@lru_cache(maxsize=CACHED)
def _bare_stem(path: str) -> str:
    return fold(bare_name(_stem(path)))


def _numbers(path: str) -> str:
    """The numbers in a name without leading zeros, and nothing where there is none."""
    return "-".join(str(int(digits)) for digits in _DIGITS.findall(_stem(path)) if digits.isascii())


RULES: Mapping[str, Callable[[str], str]] = {
    "the name is written in another way": clean_path,
    "upper and lower case differ": lambda path: clean_path(path).casefold(),
    "it is in another folder": _name,
    "it is in another folder, and case differs": lambda path: _name(path).casefold(),
    "the suffix differs": _stem,
    "case and suffix differ": lambda path: _stem(path).casefold(),
    "zeros, blanks or case differ": _folded_stem,
    "an addition to the name differs": _bare_stem,
    "marks differ": lambda path: _MARKS.sub("", _bare_stem(path)),
}
"""Difference -> the form of a path in which the two are equal."""


class SimilarFiles:
    """The files of a data set's folder, to be searched by paths that do not exist."""

    def __init__(self, files: Iterable[FoundFile]) -> None:
        shown = [file for file in files if file.kind not in (kinds.SYSTEM, kinds.LINK_TO_FOLDER, kinds.CLOSED_FOLDER)]
        # images first, so that they are named before a text of the same name
        self._paths = [file.path for file in sorted(shown, key=lambda file: (not file.is_candidate, file.path))]
        self._kinds = {file.path: file.kind for file in shown}

    @classmethod
    def below(cls, root: Path) -> SimilarFiles:
        """Those of a folder."""
        return cls(list_files(root))

    @cached_property
    def _tables(self) -> list[tuple[str, Callable[[str], str], dict[str, list[str]]]]:
        tables = []
        for difference, form in RULES.items():
            table: dict[str, list[str]] = {}
            for path in self._paths:
                table.setdefault(form(path), []).append(path)
            tables.append((difference, form, table))
        return tables

    @cached_property
    def _by_numbers(self) -> dict[str, list[str]]:
        table: dict[str, list[str]] = {}
        for path in self._paths:
            table.setdefault(_numbers(path), []).append(path)
        return table

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        table: dict[str, list[str]] = {}
        for stem, path in self._sorted_stems:
            table.setdefault(stem, []).append(path)
        return table

    @cached_property
    def _sorted_stems(self) -> list[tuple[str, str]]:
        return sorted((_folded_stem(path), path) for path in self._paths)

    def nearest(self, path: str) -> SimilarFile | None:
        """The file that is most similar to a path, None where none is."""
        if not _stem(path):
            return None
        if path in self._kinds:
            return SimilarFile(path, _why_not(self._kinds[path]), 0)
        for difference, form, table in self._tables:
            key = form(path)
            if key and (found := table.get(key)):
                return SimilarFile(_best(path, found), difference, len(found) - 1)
        return self._beginning(path) or self._same_numbers(path) or self._by_letters(path)

    def _beginning(self, path: str) -> SimilarFile | None:
        """Files whose name goes on where this one ends, or ends where this one has a mark and goes on."""
        stem = _folded_stem(path)
        at = bisect_left(self._sorted_stems, (stem, ""))
        found: list[str] = []
        while at < len(self._sorted_stems) and len(found) < NEIGHBOURS and self._sorted_stems[at][0].startswith(stem):
            rest = self._sorted_stems[at][0][len(stem) :]
            if not (stem[-1].isdigit() and rest[0].isdigit()):  # 1 is not the beginning of 10
                found.append(self._sorted_stems[at][1])
            at += 1
        if found:
            return SimilarFile(found[0], "its name is longer", len(found) - 1)
        for mark in reversed(list(_MARKS.finditer(stem))):
            if shorter := self._by_stem.get(stem[: mark.start()]):
                return SimilarFile(_best(path, shorter), "its name is shorter", len(shorter) - 1)
        return None

    def _same_numbers(self, path: str) -> SimilarFile | None:
        """The only file with the same numbers in its name."""
        numbers = _numbers(path)
        found = self._by_numbers.get(numbers, []) if numbers else []
        return SimilarFile(found[0], "the numbers in the name are the same", 0) if len(found) == 1 else None

    def _by_letters(self, path: str) -> SimilarFile | None:
        stem = _folded_stem(path)
        at = bisect_left(self._sorted_stems, (stem, ""))
        around = dict(self._sorted_stems[max(at - NEIGHBOURS, 0) : at + NEIGHBOURS])
        close = difflib.get_close_matches(stem, around, 1, LEAST_SHARE)
        return SimilarFile(around[close[0]], "the name is similar", 0) if close else None


def _why_not(kind: str) -> str:
    return f"it is among the {kind}: {kinds.REMEDIES[kind]}" if kind in kinds.REMEDIES else "it exists"


def _best(path: str, found: Sequence[str]) -> str:
    """Of several files the one with most folders in common."""
    parts = clean_path(path).casefold().split("/")
    if len(found) > 50:  # one name in so many folders: the first is as good
        return found[0]
    return max(found, key=lambda other: _common(parts, clean_path(other).casefold().split("/")))


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Number of equal parts at the end, then at the start."""
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return 100 * count + sum(one == other for one, other in zip(first, second, strict=False))


def common_starts(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The starts that were replaced by others, of paths and the files that they probably mean.

    Args:
        pairs: absolute paths of a table, and paths of files.

    Returns:
        Start of the former -> start of the latter, the most frequent first: `/mnt/clinic/` -> `images/`.
    """
    starts: Counter[tuple[str, str]] = Counter()
    for path, file in pairs:
        given, real = path.replace("\\", "/").split("/"), file.split("/")
        same = 0
        while same < min(len(given), len(real)) and clean(given[-1 - same]) == clean(real[-1 - same]):
            same += 1
        if same:
            starts[
                "/".join([*given[: len(given) - same], ""]), "/".join([*real[: len(real) - same], ""]).lstrip("/")
            ] += 1
    return {given: real for (given, real), _ in starts.most_common() if given}
