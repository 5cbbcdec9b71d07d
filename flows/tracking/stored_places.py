"""Folders that MLflow's database names: after a move or a copy of the checkout they are brought to the present place.

MLflow stores absolute folders of artifacts, one for each experiment and one for each run. Left as they are, a moved
checkout could not read its runs, and a copied one would write into the original.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from urllib.parse import unquote, urlsplit

from sqlalchemy.engine import make_url

from components.base.errors import RunError

ARTIFACTS = "artifacts"  # folder of the artifacts, next to the database
KIND = ("mlflow.experimentKind", "custom_model_development")
"""Tag of the experiments that Dermflow makes; without it MLflow shows them as those of a chat application."""

COLUMNS = (
    ("experiments", "artifact_location", ""),
    ("runs", "artifact_uri", ""),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "source", ""),
    ("model_versions", "storage_location", ""),
    ("trace_tags", "value", "AND key = 'mlflow.artifactLocation'"),
)
"""Table, column and condition of all folders in MLflow 3.17's schema."""


def database_file(uri: str) -> Path | None:
    """The absolute path of an SQLite database; None for another store."""
    if not uri.startswith("sqlite"):
        return None
    name = make_url(uri).database
    return Path(name).absolute() if name and name != ":memory:" else None


def absolute_uri(uri: str, root: Path) -> str:
    """The address of a store, where that of an SQLite database with a relative path is taken below `root`."""
    if not uri.startswith("sqlite"):
        return uri
    url = make_url(uri)
    if not url.database or url.database == ":memory:" or Path(url.database).is_absolute():
        return uri
    return url.set(database=str(root / url.database)).render_as_string(hide_password=False)


def local_folder(location: str) -> Path | None:
    """The path of an artifact location on this host: `file:///a%20b` or `/a b`; None for one elsewhere."""
    if location.startswith("/"):
        return Path(location)
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


@dataclass(frozen=True)
class _Former:
    """A folder that held the database earlier."""

    folder: Path
    present: Path

    def prefixes(self) -> Iterator[tuple[str, str]]:
        """Old and new beginning of everything below, in both forms that MLflow stores."""
        yield f"{self.folder.as_uri()}/", f"{self.present.as_uri()}/"
        yield f"{self.folder}/", f"{self.present}/"


def repair_places(database: Path) -> list[str]:
    """Rewrite the folders in a database that lie below a folder which held it earlier; others stay.

    The caller holds the lock of the database.

    Returns:
        A sentence for each earlier folder: what was rewritten, and how to get artifacts that were not copied.

    Raises:
        RunError: where folders must be rewritten and the database cannot be written.
    """
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        formers = [_Former(folder, database.parent) for folder in _former_folders(connection, database.parent)]
        try:
            return [_rewrite(connection, former) for former in formers]
        except sqlite3.DatabaseError as error:
            raise RunError(
                f"{database} names folders below {formers[0].folder}, where it was before a move or a copy, and cannot "
                f"be changed ({error}): make it writable for this user"
            ) from error


def _former_folders(connection: sqlite3.Connection, present: Path) -> list[Path]:
    """Folders that held the database, by its own experiments: MLflow's default one, and those that Dermflow made."""
    rows = connection.execute(
        "SELECT e.experiment_id, e.artifact_location, t.value IS NOT NULL FROM experiments e LEFT JOIN experiment_tags "
        "t ON t.experiment_id = e.experiment_id AND t.key = ? AND t.value = ?",
        KIND,
    ).fetchall()
    folders: dict[Path, None] = {}
    for number, location, ours in rows:
        place = local_folder(location or "")
        if place is None:
            continue
        default = number == 0 and place.name == "0" and place.parent.name == "mlruns"
        if default or (ours and place.name == ARTIFACTS):
            folders[place.parent] = None
    return [folder for folder in folders if folder.resolve() != present.resolve()]


def _rewrite(connection: sqlite3.Connection, former: _Former) -> str:
    changed: dict[str, int] = {}
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        before = [uri for (uri,) in connection.execute("SELECT artifact_uri FROM runs")]
        for table, column, condition in COLUMNS:
            for old, new in former.prefixes() if table in tables else ():
                changed[table] = (
                    changed.get(table, 0)
                    + connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # names from COLUMNS
                        f"WHERE substr({column}, 1, ?) = ? {condition}",
                        (new, len(old) + 1, len(old), old),
                    ).rowcount
                )
    sentence = (
        f"MLflow's database was in {former.folder} and is in {former.present} now: its {changed['experiments']} "
        f"experiments and {changed['runs']} runs name the present folder"
    )
    left = sum(_is_left(uri, former) for uri in before)
    if left:
        source, target = (quote(f"{folder / ARTIFACTS}/") for folder in (former.folder, former.present))
        sentence += f"; the artifacts of {left} runs were not copied: mkdir -p {target} && cp -rn {source}. {target}"
    return sentence


def _is_left(uri: str | None, former: _Former) -> bool:
    """Whether a run's artifacts are in the former folder and not in the present one."""
    place = local_folder(uri or "")
    if place is None or not place.is_relative_to(former.folder) or not place.exists():
        return False
    return not (former.present / place.relative_to(former.folder)).exists()
