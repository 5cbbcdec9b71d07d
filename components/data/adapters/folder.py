"""A diagnosis a subfolder, plain or as a tar: the simplest layout, for images of one's own."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field, field_validator

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.base.normal_form import clean
from components.data.adapters import OWN_IMAGES, ExampleData
from components.data.file_kinds import IMAGE, is_container
from components.data.file_tree import list_files
from components.data.first_look import Certainty, FirstLook, Recognition, first_folders
from components.data.read_report import ReadReport
from components.data.records import conform

EXAMPLE = ExampleData(images=("nv/a.png", "mel/b.jpg", "unlabelled/c.jpg"))


class Config(Frozen):
    """`path/DIAGNOSIS/.../image.jpg`; images in the unlabelled subfolder have no diagnosis.

    A tar counts as a folder: `nv/0.tar/a.jpg`, `nv.tar/a.jpg` and `0.tar/nv/a.jpg` are all images of nv. The same holds
    for an HDF5 file and for a table with images in its rows.
    """

    published: ClassVar[bool] = False
    licence: ClassVar[Licence] = OWN_IMAGES

    kind: Literal["folder"] = "folder"
    path: Path = Field(description="the folder whose subfolders are named as the diagnoses")
    unlabelled: str = Field(default="unlabelled", min_length=1, description="subfolder of images without a diagnosis")
    parts: tuple[str, ...] = Field(
        default=(),
        description="subfolders that hold the folders of diagnoses and are none themselves, such as train and test; "
        "all of them are read, and the split is made anew",
    )
    lesion_pattern: str | None = Field(
        default=None,
        description="regular expression on the file name, its one group the lesion; null: one image a lesion",
    )
    patient_pattern: str | None = Field(default=None, description="the same for the patient; null: unknown")

    @field_validator("lesion_pattern", "patient_pattern")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"has {groups} groups, expected one: '^([^_]+)_' takes the text before the first _")
        return pattern

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row an image file, with its path as id; one that cannot be read has a row too, which is quarantined."""
        found = [file for file in list_files(self.path) if file.is_candidate]
        loose = [
            file.path for file in found if file.kind == IMAGE and self._diagnosis(PurePosixPath(file.path)) is None
        ]
        found = [file for file in found if self._diagnosis(PurePosixPath(file.path)) is not None]
        if not found or loose:
            what = f"{len(loose)} images lie in no subfolder" if loose else "no image in any subfolder"
            raise DataError(
                f"dataset.path = {self.path}: {what}; expected one subfolder per diagnosis, such as "
                f"{self.path / 'nv'}, and {self.path / self.unlabelled} for images without one"
            ).with_words(f"first {loose[0]}" if loose else "")
        files = [PurePosixPath(file.path) for file in found]
        folders = [self._diagnosis(file) for file in files]
        readable = [file.kind == IMAGE for file in found]
        names = [clean(file.name) for file in files]
        table = pd.DataFrame(
            {
                "image_id": [file.as_posix() for file in files],
                "path": [file.as_posix() for file in files],
                "diagnosis": [None if clean(folder or "") == clean(self.unlabelled) else folder for folder in folders],
                "lesion_id": _matched(names, readable, self.lesion_pattern, "lesion_pattern"),
                "patient_id": _matched(names, readable, self.patient_pattern, "patient_pattern"),
                "source": "folder",
            }
        )
        return conform(table, str(self.path), report)

    def _diagnosis(self, file: PurePosixPath) -> str | None:
        """The first folder on the path that is no part, inside tars too; else the name of the tar or table itself."""
        parts = {clean(part) for part in self.parts}
        folders = [part for part in file.parts[:-1] if not is_container(part) and clean(part) not in parts]
        shards = [PurePosixPath(part).stem for part in file.parts[:-1] if is_container(part)]
        return next(iter(folders + shards), None)


PARTS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
"""Names of folders that divide a data set and are no diagnoses."""

ID_PATTERNS = {
    "lesion_pattern": (
        "(?i)^(p[0-9]+[_-]l[0-9]+)[_.-]",
        "(?i)^(l[0-9]+)[_.-]",
        "(?i)(lesion[_-]?[0-9]+)",
    ),
    "patient_pattern": ("(?i)^(p[0-9]+)[_.-]", "(?i)(pat(?:ient)?[_-]?[0-9]+)"),
}
"""How lesions and patients stand in names of files, such as `p3_l1_a.jpg`; a guess."""


def recognise(look: FirstLook) -> Recognition | None:
    """Images in at least two folders, none of them beside the folders; ids by usual patterns of file names."""
    images = look.images
    if not images:
        return None
    top = first_folders(images)
    parts = sorted(name for name in top if clean(name).lower() in PARTS) if set(map(str.lower, top)) <= PARTS else []
    config = Config(path=look.root, parts=tuple(parts))
    folders = {config._diagnosis(PurePosixPath(path)) for path in images} - {None, config.unlabelled}
    if len(folders) < 2 or any(config._diagnosis(PurePosixPath(path)) is None for path in images):
        return None
    names = [clean(PurePosixPath(path).name) for path in images]
    patterns = {key: pattern for key, known in ID_PATTERNS.items() if (pattern := _shared_by(names, known))}
    notes = [f"dataset.{key}: {pattern!r} is a guess from the names of files" for key, pattern in patterns.items()]
    if look.tables:
        notes.append(f"{', '.join(look.tables)} is not used: no column of it was found that names the images")
    settings = {**({"parts": parts} if parts else {}), **patterns}
    return Recognition(Certainty.ANY_FOLDER, f"images in {len(folders)} folders", settings, tuple(notes))


def _shared_by(names: list[str], patterns: tuple[str, ...]) -> str | None:
    """The first pattern that fits all names and finds fewer ids than there are names."""
    for pattern in patterns:
        found = [match.group(1) if (match := re.search(pattern, name)) else None for name in names]
        if None not in found and len(set(found)) < len(found):
            return pattern
    return None


def _matched(names: list[str], readable: list[bool], pattern: str | None, key: str) -> list[str | None]:
    """The match of the pattern's group in each file name; DataError for a readable file whose name does not match."""
    if pattern is None:
        return [None] * len(names)
    found = [re.search(unicodedata.normalize("NFC", pattern), name) for name in names]  # names are in this form
    groups = [match.group(1) if match else None for match in found]
    misses = [name for name, needed, group in zip(names, readable, groups, strict=True) if needed and not group]
    if misses:
        raise DataError(
            f"dataset.{key} = {pattern!r} (params.yaml) does not match {len(misses)} file names"
        ).with_words(f"first {misses[0]!r}")
    return groups
