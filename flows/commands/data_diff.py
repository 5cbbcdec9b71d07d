"""Two versions of the data set side by side: a git revision, as DVC kept it, and the workspace."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.base.errors import DataError, RunError
from components.data.sources import SourceError, read_bytes
from components.validation.drift import Changes, assemble, compare, most_changed
from components.validation.drift_page import Card, points, write_page
from components.validation.thumbnails import Thumbnail, shrink

TABLES = ("records", "facts", "accepted")
HERE = "workspace"


class Version:
    """A data set's tables and files, read through DVC: at a revision, or where `rev` is None as they lie here."""

    def __init__(self, files: Any, rev: str | None, scratch: Path) -> None:
        self._files, self._rev, self._scratch = files, rev, scratch
        self.name = rev or HERE

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """params.yaml, unchecked: an older one need not keep today's rules."""
        try:
            parsed = YAML(typ="safe").load(self.read("params.yaml"))
        except YAMLError as error:
            raise DataError(f"{self.name}: params.yaml is not YAML: {error}") from error
        return parsed if isinstance(parsed, Mapping) else {}

    def place(self, section: str, key: str) -> str:
        """A path of params.yaml, such as paths.records."""
        found = (self.params.get(section) or {}).get(key)
        if not isinstance(found, str):
            raise DataError(
                f"{self.name}: params.yaml has no {section}.{key}, so it is not known where that data lay; "
                "name a revision of this pipeline"
            )
        return found

    @cached_property
    def table(self) -> pd.DataFrame:
        """The version as `drift.assemble` makes it."""
        return assemble(*(self._table(name) for name in TABLES))

    def _table(self, name: str) -> pd.DataFrame:
        path = self.place("paths", name)
        try:
            return pd.read_parquet(io.BytesIO(self.read(path)), engine="pyarrow")
        except ValueError as error:  # pyarrow's own errors are ValueErrors
            raise DataError(f"{self.name}: {path} is no parquet table ({error})") from error

    def read(self, path: str) -> bytes:
        """A file's bytes; DataError says whether the version has none or DVC's cache lacks it."""
        if not self._files.exists(path):
            raise DataError(f"{self.name} has no {path}; {self._mend()}")
        try:
            with self._files.open(path, "rb") as file:
                return bytes(file.read())
        except OSError as error:
            raise DataError(
                f"{self.name}: DVC knows {path}, but its content is neither in the cache nor in a remote; fetch it "
                f"with `dvc fetch --all-commits {path}` where a remote has it, or run the pipeline at that revision"
            ) from error

    def _mend(self) -> str:
        if self._rev is None:
            return "make it with `dermflow run`"
        return "name a revision at which the pipeline had run and dvc.lock was committed (git log dvc.lock)"

    def image(self, path: str, sha256: str | None) -> bytes | None:
        """An image's bytes, or None where they are not at hand or are not the ones that the tables speak of."""
        root = self.place("dataset", "path")
        try:
            data = read_bytes(self._folder(root, path), path)
        except (SourceError, DataError):
            return None
        return data if sha256 is None or hashlib.sha256(data).hexdigest() == sha256 else None

    def _folder(self, root: str, path: str) -> Path:
        """A folder that has the file of `path`, which may be a member of an archive: fetched here when asked for."""
        if self._rev is None:
            return Path(root)
        parts = PurePosixPath(path).parts
        if PurePosixPath(root).is_absolute() or ".." in PurePosixPath(root).parts or ".." in parts:
            raise DataError(f"{root}: is not in the repository, so DVC keeps no versions of it")
        for place in range(1, len(parts) + 1):
            file = PurePosixPath(*parts[:place])
            if self._files.isfile(f"{root}/{file}"):
                self._fetch(f"{root}/{file}", self._scratch / file)
                return self._scratch
        raise DataError(f"{self.name} has no {root}/{path}")

    def _fetch(self, path: str, to: Path) -> None:
        if not to.exists():
            data = self.read(path)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(data)


@contextmanager
def open_version(rev: str | None) -> Iterator[Version]:
    """The repository's data at a git revision, or as they lie here; RunError for a revision that nobody knows."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import RevError, SCMError

    try:
        with Repo(rev=rev) as repo, TemporaryDirectory(prefix="dermflow-") as scratch:
            yield Version(repo.dvcfs, rev, Path(scratch))
    except RevError as error:
        raise RunError(f"{rev}: git knows no such revision; expected a commit, tag or branch (git log)") from error
    except (NotDvcRepoError, SCMError) as error:
        raise RunError(f"{rev or HERE}: no git and DVC repository; run from the repository's root") from error
    except DvcException as error:
        raise RunError(f"dvc: {error}") from error


@dataclass(frozen=True)
class Answer:
    """What has changed, ready to be printed and drawn."""

    changes: Changes
    cards: list[Card]
    names: tuple[str, str]
    notes: list[str]

    def lines(self) -> list[str]:
        """The table for a terminal."""
        return summary(self.changes, self.names, self.notes)

    def write(self, page: Path) -> None:
        """The page with pictures."""
        write_page(self.changes, self.cards, self.names, self.notes, page)


def diff(rev: str) -> Answer:
    """The revision's data set against the workspace's, as the pipeline last saw each."""
    with open_version(rev) as before, open_version(None) as after:
        changes = compare(before.table, after.table)
        rows = [{str(name): value for name, value in row.items()} for row in most_changed(changes).to_dict("records")]
        cards = [_card(row, before, after) for row in rows]
        return Answer(changes, cards, (rev, HERE), _notes(changes, before, after, cards))


def _card(row: Mapping[str, Any], before: Version, after: Version) -> Card:
    """One of the most changed, with its picture in each version; a file that is the same is shown once."""
    old, new = row["image_id_before"], row["image_id_after"]
    same = row["sha256_before"] is not None and row["sha256_before"] == row["sha256_after"]
    first = None if old is None or same else _picture(before, row["path_before"], row["sha256_before"])
    second = None if new is None else _picture(after, row["path_after"], row["sha256_after"])
    if same and second is None:
        second = _picture(before, row["path_before"], row["sha256_before"])
    return Card(row["kind"], new or old, row["words"], old if new and old != new else None, first, second)


def _picture(version: Version, path: str, sha256: str | None) -> Thumbnail | None:
    data = version.image(path, sha256)
    return None if data is None else shrink(data)


def _notes(changes: Changes, before: Version, after: Version, cards: list[Card]) -> list[str]:
    """What a reader must know before believing the numbers."""
    notes = []
    stale = _stale()
    if stale:
        notes.append(
            f"The workspace's tables are older than its data or settings ({', '.join(stale)} would run): "
            "`dermflow run` first, then ask again."
        )
    if before.params.get("labels") != after.params.get("labels"):
        notes.append("labels (params.yaml) differ too: class shares changed by mapping as well as by data.")
    if changes.unknown:
        words = ", ".join(changes.unknown)
        notes.append(f"Not compared, because one version was read by code that did not measure it: {words}.")
    if any(card.before is None and card.kind in ("replaced", "removed") for card in cards):
        notes.append(
            f"Former pictures are missing where DVC keeps none of {before.name}: the data set was outside DVC, or "
            "its files are neither in the cache nor in a remote (dvc fetch)."
        )
    return notes


def _stale() -> list[str]:
    """Which of the stages that make the tables would run now."""
    from flows.orchestration.graph import is_changed, read_graph

    makers = [node.address for node in read_graph() if node.address in ("ingest", "validate")]
    return [address for address in makers if is_changed(address)]


def summary(changes: Changes, names: tuple[str, str], notes: list[str]) -> list[str]:
    """Counts, classes and quality in lines of at most 80 columns."""
    parts = {
        "added": changes.added, "removed": changes.removed, "relabelled": changes.relabelled,
        "replaced": changes.replaced, "renamed": changes.renamed,
    }  # fmt: skip
    before, after = changes.before, changes.after
    counts = [
        f"images    {len(before):,} -> {len(after):,}: "
        + ", ".join(f"{len(part):,} {name}" for name, part in parts.items()),
        f"accepted  {before['accepted'].sum():,} -> {after['accepted'].sum():,}; of the images of both versions "
        f"{len(changes.let_in):,} newly, {len(changes.kept_out):,} no more",
    ]
    return [
        f"{names[0]} -> {names[1]}",
        *counts,
        "",
        *_class_lines(changes),
        "",
        *_quality_lines(changes),
        *_told(notes),
    ]


def _class_lines(changes: Changes) -> list[str]:
    width = max([5, *(len(str(name)) for name in changes.classes.index)])
    lines = [f"{'class':{width}}   before    after    share before   after   points"]
    for name, row in changes.classes.iterrows():
        lines.append(
            f"{name:{width}}  {row['before']:7,.0f}  {row['after']:7,.0f}  {100 * row['share_before']:12.1f} % "
            f"{100 * row['share_after']:5.1f} %  {points(row['difference']):>6}"
        )
    return lines


def _quality_lines(changes: Changes) -> list[str]:
    lines = [f"{'quality':10}  median before    after   distance of distributions (0 to 1)"]
    for name, row in changes.quality.drop(index=list(changes.unknown)).iterrows():
        lines.append(f"{name:10}  {row['middle_before']:13.4g}  {row['middle_after']:7.4g}   {row['distance']:.2f}")
    return lines


def _told(notes: list[str]) -> list[str]:
    return ["", *notes] if notes else []
