"""`dermflow data diff`: the data set at a git revision, as DVC stored it, compared with the workspace."""

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
from components.base.files import write_text
from components.data.source_error import SourceError
from components.data.sources import read_bytes
from components.validation.drift import DatasetChanges, assemble, compare, most_changed
from components.validation.drift_page import ChangedImage, points, render
from components.validation.thumbnails import Thumbnail, shrink
from flows.stage_io.pages import stamped
from flows.tracking.git import find_commit, read_git

TABLES = ("records", "facts", "accepted")
WORKSPACE = "workspace"


class DatasetVersion:
    """A data set's tables and files, read through DVC: at the revision `rev`, or in the workspace where it is None."""

    def __init__(self, repo: Any, rev: str | None, scratch: Path) -> None:
        """Of an open DVC repository at the revision, with a folder for files that are fetched."""
        self._files, self._rev, self._scratch = repo.dvcfs, rev, scratch
        self._unrecorded = {out.def_path for out in repo.index.outs if not out.hash_info}
        self._remotes = ", ".join(repo.config["remote"])
        self.name = WORKSPACE if rev is None else rev

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """params.yaml without validation: an older one may not meet today's rules."""
        try:
            parsed = YAML(typ="safe").load(self.read("params.yaml"))
        except YAMLError as error:
            raise DataError(f"{self.name}: params.yaml is not YAML: {error}") from error
        return parsed if isinstance(parsed, Mapping) else {}

    def path_of(self, section: str, key: str) -> str:
        """A path of params.yaml, such as paths.records."""
        found = (self.params.get(section) or {}).get(key)
        if not isinstance(found, str):
            raise DataError(
                f"{self.name}: params.yaml has no {section}.{key}, so the path of that data is unknown; "
                "name a revision of this pipeline"
            )
        return found

    @cached_property
    def table(self) -> pd.DataFrame:
        """The version as `drift.assemble` makes it."""
        return assemble(*(self.read_table(name) for name in TABLES))

    def read_table(self, name: str) -> pd.DataFrame:
        """The parquet table of a setting of `paths`, such as accepted."""
        path = self.path_of("paths", name)
        try:
            return pd.read_parquet(io.BytesIO(self.read(path)), engine="pyarrow")
        except ValueError as error:  # pyarrow's own errors are ValueErrors
            raise DataError(f"{self.name}: {path} is no parquet table ({error})") from error

    def read(self, path: str) -> bytes:
        """A file's bytes; the DataError says whether the version has no such file or DVC's cache does not hold it."""
        if not self._files.exists(path):
            raise DataError(f"{self.name} has no {path}; {self._fix()}")
        if path in self._unrecorded and self._rev is not None:
            raise DataError(f"{self.name}: its dvc.lock records no version of {path}; {self._fix()}")
        try:
            with self._files.open(path, "rb") as file:
                return bytes(file.read())
        except OSError as error:
            if self._rev is None:
                raise DataError(f"{self.name} has no {path}; {self._fix()}") from error
            raise DataError(
                f"{self.name}: DVC knows {path}, but its content is not in the cache, and {self._where_else(path)}"
            ) from error

    def _fix(self) -> str:
        if self._rev is None:
            return "create it with `dermflow run`, or get it with `dvc checkout` where the cache has it"
        return "name a revision at which the pipeline had run and dvc.lock was committed (git log dvc.lock)"

    def _where_else(self, path: str) -> str:
        fetch = f"`dvc fetch --all-commits {path}`"
        if not self._remotes:
            return (
                f"this repository has no remote: add one that has it (`dvc remote add`) and run {fetch}, or run this "
                "command where the pipeline ran then"
            )
        return (
            f"no remote gave it ({self._remotes}): see why with {fetch}, or run this command where the pipeline "
            "ran then"
        )

    def image(self, path: str, sha256: str | None) -> bytes | None:
        """An image's bytes; None where they are not available or have another sha256 than in the tables."""
        root = self.path_of("dataset", "path")
        try:
            data = read_bytes(self._folder(root, path), path)
        except (SourceError, DataError):
            return None
        return data if sha256 is None or hashlib.sha256(data).hexdigest() == sha256 else None

    def _folder(self, root: str, path: str) -> Path:
        """A folder with the file of `path`, which may be a member of an archive; it is fetched when needed."""
        if self._rev is None:
            return Path(root)
        parts = PurePosixPath(path).parts
        if PurePosixPath(root).is_absolute() or ".." in PurePosixPath(root).parts or ".." in parts:
            raise DataError(f"{root}: is not in the repository, so DVC has no versions of it")
        for length in range(1, len(parts) + 1):
            file = PurePosixPath(*parts[:length])
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
def open_version(rev: str | None) -> Iterator[DatasetVersion]:
    """The repository's data at a git revision, or in the workspace for None.

    Raises:
        RunError: the revision is unknown or DVC cannot read it, or this is no git and DVC repository.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import SCMError

    name = WORKSPACE if rev is None else rev
    try:
        commit = None if rev is None else _find_commit(rev)
        with Repo(rev=commit, config=_present_config()) as repo, TemporaryDirectory(prefix="dermflow-") as scratch:
            yield DatasetVersion(repo, rev, Path(scratch))
    except (NotDvcRepoError, SCMError) as error:
        raise RunError(f"{name}: no git and DVC repository; run from the repository's root") from error
    except DvcException as error:
        raise RunError(
            f"{name}: DVC cannot read this version, most likely its dvc.yaml or dvc.lock: {error}"
        ) from error


def _present_config() -> dict[str, Any]:
    """Cache and remotes as the workspace has them: those of an older commit may no longer exist."""
    from dvc.repo import Repo

    with Repo() as repo:
        return {section: repo.config[section] for section in ("core", "cache", "remote")}


def _find_commit(rev: str) -> str:
    """The full id of a revision's commit.

    Raises:
        RunError: git has no such commit, or there is no repository; in a shallow clone with the command that helps.
    """
    if found := read_git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}"):
        return found
    here = find_commit(Path.cwd())
    if here.unknown:
        raise RunError(f"{rev}: no git and DVC repository; run from the repository's root. Here {here.found}")
    shallow = read_git("rev-parse", "--is-shallow-repository") == "true"
    raise RunError(
        f"{rev or repr(rev)}: git knows no such revision; expected a commit, tag or branch (git log)"
        + ("; this clone is shallow and lacks older commits: git fetch --unshallow --tags" if shallow else "")
    )


@dataclass(frozen=True)
class DatasetDiff:
    """The differences of two versions, with the texts and images that report them."""

    changes: DatasetChanges
    images: list[ChangedImage]
    names: tuple[str, str]
    notes: list[str]

    def lines(self) -> list[str]:
        """The table for a terminal."""
        return summary(self.changes, self.names, self.notes)

    def write(self, page: Path) -> None:
        """Write the page with images."""
        text = render(self.changes, self.images, self.names, self.notes)
        write_text(page, stamped(text, page))


def diff(rev: str) -> DatasetDiff:
    """Compare the data set of a revision with that of the workspace, each as the pipeline last processed it."""
    with open_version(rev) as before, open_version(None) as after:
        changes = compare(before.table, after.table)
        rows = [{str(name): value for name, value in row.items()} for row in most_changed(changes).to_dict("records")]
        images = [_changed_image(row, before, after) for row in rows]
        return DatasetDiff(changes, images, (rev, WORKSPACE), _notes(changes, before, after, images))


def _changed_image(row: Mapping[str, Any], before: DatasetVersion, after: DatasetVersion) -> ChangedImage:
    """One of the most changed images, with its picture in each version; an unchanged file is shown once."""
    old, new = row["image_id_before"], row["image_id_after"]
    same = row["sha256_before"] is not None and row["sha256_before"] == row["sha256_after"]
    first = None if old is None or same else _picture(before, row["path_before"], row["sha256_before"])
    second = None if new is None else _picture(after, row["path_after"], row["sha256_after"])
    if same and second is None:
        second = _picture(before, row["path_before"], row["sha256_before"])
    return ChangedImage(
        kind=row["kind"],
        name=new or old,
        words=row["words"],
        former_name=old if new and old != new else None,
        before=first,
        after=second,
    )


def _picture(version: DatasetVersion, path: str, sha256: str | None) -> Thumbnail | None:
    data = version.image(path, sha256)
    return None if data is None else shrink(data)


def _notes(
    changes: DatasetChanges, before: DatasetVersion, after: DatasetVersion, images: list[ChangedImage]
) -> list[str]:
    """Limits of the comparison that a reader must know."""
    notes = []
    stale = _stale()
    if stale:
        notes.append(
            f"The workspace's tables are older than its data or settings ({', '.join(stale)} would run): "
            "`dermflow run` first, then repeat the command."
        )
    if before.params.get("labels") != after.params.get("labels"):
        notes.append("labels (params.yaml) differ too: class shares changed by the mapping as well as by the data.")
    if changes.unknown:
        words = ", ".join(changes.unknown)
        notes.append(f"Not compared, because one version was made by code that did not measure it: {words}.")
    if any(image.before is None and image.kind in ("replaced", "removed") for image in images):
        notes.append(
            f"Former images are missing where DVC has none of {before.name}: the data set was outside DVC, or "
            "its files are neither in the cache nor in a remote (dvc fetch)."
        )
    return notes


def _stale() -> list[str]:
    """The stages that make the tables and would run now."""
    from flows.orchestration.graph import is_changed, read_graph

    makers = [node.address for node in read_graph() if node.address in ("ingest", "validate")]
    return [address for address in makers if is_changed(address)]


def summary(changes: DatasetChanges, names: tuple[str, str], notes: list[str]) -> list[str]:
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
        f"{len(changes.newly_accepted):,} newly, {len(changes.newly_quarantined):,} no longer",
    ]
    return [
        f"{names[0]} -> {names[1]}",
        *counts,
        "",
        *_class_lines(changes),
        "",
        *_quality_lines(changes),
        *(["", *notes] if notes else []),
    ]


def _class_lines(changes: DatasetChanges) -> list[str]:
    width = max([5, *(len(str(name)) for name in changes.classes.index)])
    lines = [f"{'class':{width}}   before    after    share before   after   points"]
    for name, row in changes.classes.iterrows():
        lines.append(
            f"{name:{width}}  {row['before']:7,.0f}  {row['after']:7,.0f}  {100 * row['share_before']:12.1f} % "
            f"{100 * row['share_after']:5.1f} %  {points(row['difference']):>6}"
        )
    return lines


def _quality_lines(changes: DatasetChanges) -> list[str]:
    lines = [f"{'quality':10}  median before    after   distance of distributions (0 to 1)"]
    for name, row in changes.quality.drop(index=list(changes.unknown)).iterrows():
        lines.append(f"{name:10}  {row['middle_before']:13.4g}  {row['middle_after']:7.4g}   {row['distance']:.2f}")
    return lines
