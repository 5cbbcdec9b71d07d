"""The first look at a data set whose layout is not known: its files, its tables, and what an adapter recognises in it.

An adapter's file may have `recognise(look)`, which says whether the layout is its own and which settings would read it.
Nothing here decides: `best` only orders what the adapters said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from components.base.errors import DataError
from components.base.families import load_member, members
from components.base.normal_form import clean
from components.data.file_kinds import TABLE, is_container
from components.data.file_tree import FoundFile, list_files
from components.data.read_report import ReadReport
from components.data.tables import SUFFIXES, open_table, read_table

MOST_TABLES = 40
"""Tables whose header is read, those nearest to the root first."""


class Certainty(IntEnum):
    """How much of a layout an adapter recognises; the highest wins."""

    ANY_FOLDER = 0
    """Images in folders."""
    ANY_TABLE = 1
    """A table whose columns were guessed."""
    FORMAT = 2
    """A format with marks of its own, such as DICOM."""
    PUBLISHED = 3
    """The table of one published data set."""


@dataclass(frozen=True)
class Recognition:
    """What an adapter says of a folder."""

    certainty: Certainty
    seen: str
    """What shows it, a part of a sentence."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the adapter, besides `kind` and `path`."""
    notes: tuple[str, ...] = ()
    """What was guessed or could not be known, each a sentence for the user."""


@dataclass(frozen=True)
class SeenTable:
    """A table by its header."""

    header: tuple[str, ...]
    """Names in the form of `normal_form.clean`, each once."""
    form: str
    """Such as `separator ';', utf-8`."""

    def has(self, columns: Iterable[str]) -> bool:
        """Whether all these columns are there."""
        return set(map(clean, columns)) <= set(self.header)


@dataclass(frozen=True)
class FirstLook:
    """A folder as it was found; no image is decoded."""

    root: Path
    only: str | None
    """Name of the one table or archive that was named instead of the folder."""
    files: tuple[FoundFile, ...]
    tables: Mapping[str, SeenTable]
    """Path below `root` -> header."""
    unread: Mapping[str, str]
    """Path of a table that cannot be read -> why."""

    @property
    def images(self) -> list[str]:
        """Paths of everything that looks like an image."""
        return [file.path for file in self.files if file.is_candidate]

    def cells(self, table: str, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of a table as text; see `tables.read_table`."""
        return read_table(self.root / table, columns, ReadReport(), root=self.root)

    def published_table(self, names: Iterable[str], columns: Iterable[str]) -> str | None:
        """The table of one of these names (patterns, in any case and with any suffix of tables) with these columns."""
        for name in names:
            pattern = name.rpartition(".")[0].lower() or name.lower()
            for path, table in self.tables.items():
                if fnmatch(path.rpartition(".")[0].lower(), pattern) and table.has(columns):
                    return path
        return None


def look_at(place: Path) -> FirstLook:
    """The first look at a folder, or at one table or archive with what lies beside it.

    Raises:
        DataError: where there is nothing, or the file is neither.
    """
    if not place.exists():
        raise DataError(f"{place}: no such folder or file; expected a folder with images, a table, or a .tar")
    if place.is_dir():
        return _look(place, None)
    if place.suffix.lower() not in SUFFIXES and not is_container(place.name):
        raise DataError(
            f"{place}: is neither a table ({', '.join(SUFFIXES)}) nor an archive that is read in place (.tar, .hdf5, "
            ".parquet, .arrow, .npz); name the folder with the images, or unpack it first"
        )
    return _look(place.parent, place.name)


def _look(root: Path, only: str | None) -> FirstLook:
    files = list_files(root)
    if only is not None and is_container(only):
        inside = [file for file in files if file.path == only or file.path.startswith(f"{only}/")]
        files = inside if any(file.is_candidate for file in inside) else files
    tables, unread = {}, {}
    for path in [only] if only and _is_table(only) else _tables(files):
        try:
            table = open_table(root / path, root=root)
            tables[path] = SeenTable(tuple(name for name in dict.fromkeys(table.header) if name), table.form)
        except DataError as error:
            unread[path] = str(error).removeprefix(f"{root / path}: ")
    return FirstLook(root, only, tuple(files), tables, unread)


def _is_table(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _tables(files: Iterable[FoundFile]) -> list[str]:
    """Tables that are no plain text, the nearest to the root first."""
    found = [file.path for file in files if file.kind == TABLE and _is_table(file.path) and ".tar/" not in file.path]
    found = [path for path in found if not path.lower().endswith(".txt")]
    return sorted(found, key=lambda path: (path.count("/"), path))[:MOST_TABLES]


def recognitions(look: FirstLook) -> dict[str, Recognition]:
    """Kind of adapter -> what it says, the most certain first; those that say nothing are left out."""
    modules = {name: load_member("data.adapters", name) for name in members("data.adapters")}
    said = {name: module.recognise(look) for name, module in modules.items() if hasattr(module, "recognise")}
    found = {name: each for name, each in said.items() if each is not None}
    return dict(sorted(found.items(), key=lambda pair: -pair[1].certainty))


def best(found: Mapping[str, Recognition]) -> list[str]:
    """The kinds of the highest certainty: one where the layout is known, several where a person must choose."""
    highest = max((each.certainty for each in found.values()), default=None)
    return [name for name, each in found.items() if each.certainty == highest]


def first_folders(paths: Iterable[str]) -> Counter[str]:
    """How many paths lie in each folder of the first level; those in none are left out."""
    return Counter(PurePosixPath(path).parts[0] for path in paths if "/" in path)
