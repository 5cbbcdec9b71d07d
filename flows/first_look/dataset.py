"""A data set that no settings describe yet: the adapter that knows it, its rows, classes and ids."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from components.base.errors import DataError
from components.base.families import load_member, members, missing
from components.data.adapters import Adapter
from components.data.first_look import FirstLook, Recognition, best, recognitions
from components.data.ids import PERSON_IDS, resampled_unit
from components.data.read_report import ReadReport
from components.data.similar_files import SimilarFiles
from components.data.splits import group_rows

SHOWN = 12
"""Names of columns, tables and classes that one line lists at most."""


@dataclass(frozen=True)
class SeenDataset:
    """A data set as its adapter reads it."""

    look: FirstLook
    kind: str
    recognition: Recognition
    published: bool
    table: pd.DataFrame
    """The columns of `records.Raw`, without labels."""
    report: ReadReport
    found: int
    """Rows whose image is there."""
    nearest: tuple[str, ...]
    """Of a few rows without image: the path, and the file that is most likely meant."""

    @property
    def unit(self) -> str:
        """What the groups of a split would be, in words: lesions or patients, where any id is known; else images."""
        return resampled_unit(len(self.table), self.report.known_ids)

    @property
    def diagnoses(self) -> dict[str, tuple[int, int]]:
        """Diagnosis -> images and `unit`s, the most frequent first.

        A `unit` is a group that the stage `split` does not divide: images that share an id of a lesion or patient.
        """
        groups = group_rows(self.table, PERSON_IDS)
        counts = groups.groupby(self.table["diagnosis"]).agg(["size", "nunique"])
        ordered = counts.sort_values(["size"], ascending=False, kind="stable")
        return {str(word): (int(images), int(units)) for word, (images, units) in ordered.T.items()}

    @property
    def unlabelled(self) -> int:
        """Images without a diagnosis."""
        return int(self.table["diagnosis"].isna().sum())

    def ids(self, name: str) -> int:
        """Distinct ids of lesions or patients; 0 where none is known."""
        known = self.report.known_ids[name]
        if name == "lesion_id":
            return int(self.table[name].nunique()) - (len(self.table) - known) if known else 0
        return int(self.table[name].nunique())

    @property
    def missing_shares(self) -> dict[str, float]:
        """Share of images of which age, sex or site is not known."""
        return {
            "age": float(self.table["age"].isna().mean()),
            "sex": float((self.table["sex"] == "unknown").mean()),
            "site": float((self.table["site"] == "unknown").mean()),
        }


def recognise(look: FirstLook, kind: str | None = None) -> tuple[str, Recognition]:
    """The adapter that reads a data set, and how.

    Args:
        look: at the folder.
        kind: of the adapter, where a person chose it.

    Raises:
        DataError: where no adapter recognises the layout, or several do so equally well; it says what is there.
    """
    if kind is not None and kind not in members("data.adapters"):
        raise DataError(f"--kind {missing('data.adapters', kind)}")
    found = recognitions(look)
    if kind is not None:
        if kind not in found:
            raise DataError(f"{look.root}: {kind} does not recognise this layout. {describe_files(look)}")
        return kind, found[kind]
    chosen = best(found)
    if len(chosen) == 1:
        return chosen[0], found[chosen[0]]
    if not chosen:
        raise DataError(f"{look.root}: no adapter recognises this layout. {describe_files(look)}\n{_remedy(look)}")
    ways = "\n".join(f"  {name}: {found[name].seen}" for name in chosen)
    raise DataError(
        f"{look.root}: {len(chosen)} adapters recognise this layout equally well, and which one is meant cannot "
        f"be known:\n{ways}\nName the table instead of the folder, or add --kind {chosen[0]}; one folder holds one "
        "data set"
    )


def describe_files(look: FirstLook) -> str:
    """One sentence for images, tables and what cannot be read."""
    counts = Counter(file.kind for file in look.files)
    there = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    parts = [f"There are {there}." if there else "It is empty."]
    for path, table in list(look.tables.items())[:SHOWN]:
        parts.append(f"{path} ({table.form}) has the columns {', '.join(table.header[:SHOWN])}.")
    parts += [f"{path} cannot be read: {reason}." for path, reason in look.unread.items()]
    return " ".join(parts)


def _remedy(look: FirstLook) -> str:
    if look.unread and not look.tables:
        return "Correct the table, then `dermflow init` again."
    if look.tables:
        return (
            "Expected a column that names the images and one of the diagnosis: write dataset.columns into a preset by "
            "hand (docs/your-data.md, adapter table)."
        )
    if look.images:
        return "Expected a folder for each diagnosis, or a table that names image and diagnosis."
    return "Expected images in folders or tars, with a folder for each diagnosis or a table."


def read(look: FirstLook, kind: str, recognition: Recognition) -> SeenDataset:
    """The rows of a data set; where there is no image at all, those of its tables.

    Raises:
        DataError: where the adapter cannot read it.
    """
    member = load_member("data.adapters", kind)
    with ExitStack() as stack:
        root = look.root if look.images else stack.enter_context(_tables_alone(look))
        adapter: Adapter = member.Config(path=root, **recognition.settings)
        report = ReadReport()
        table = adapter.read(report)
    there = {file.path for file in look.files}
    lost = [path for path in table["path"] if path not in there] if look.images else []
    similar = SimilarFiles(list(look.files)) if lost else None
    nearest = tuple(
        f"{path}: there is {near}" if similar and (near := similar.nearest(path)) else f"{path}: nothing similar"
        for path in lost[:3]
    )
    found = len(table) - len(lost) if look.images else 0
    return SeenDataset(look, kind, recognition, adapter.published, table, report, found, nearest)


@contextmanager
def _tables_alone(look: FirstLook) -> Iterator[Path]:
    """A folder with copies of the tables and the name of one image: an adapter then reads the rows without images."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path in look.tables:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(look.root / path, folder / path)
        (folder / "no_image.png").touch()
        yield folder


def words(counts: Mapping[str, int]) -> str:
    """`nv 40, mel 20`, the first SHOWN."""
    shown = [f"{word} {count}" for word, count in list(counts.items())[:SHOWN]]
    return ", ".join([*shown, *([f"and {len(counts) - SHOWN} more"] if len(counts) > SHOWN else [])])
