"""ISIC: the archive's metadata, and the tables of the challenges of 2018 (task 3), 2019 and 2020.

Which of them a file is, its columns tell:

    archive    isic_id (before 2022: name)   diagnosis, or diagnosis_1 to diagnosis_5 from coarse to fine
    2018, 2019 image, MEL, NV, BCC ...       one column a diagnosis; lesions, age, sex and site in a second file
    2020       image_name                    diagnosis, mostly `unknown`, and benign_malignant

Codella et al., arXiv:1902.03368 (2018); Combalia et al., arXiv:1908.02288 (2019); Rotemberg et al., Sci Data 8:34
(2021).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import ClassVar, Literal, get_args

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.data.records import conform, read_columns
from components.data.sources import find_images, locate
from components.data.vocabulary import is_site, translate

ONE_HOT = ("MEL", "NV", "BCC", "AK", "AKIEC", "BKL", "DF", "VASC", "SCC", "UNK")
PREFIXES = ("meta.clinical.", "meta.acquisition.")  # the archive's, before 2022
# Contract's column -> what it is called in one or another table; the first that has something counts.
NAMES = {
    "image_id": ("isic_id", "image_name", "image", "name"),
    "lesion_id": ("lesion_id",),
    "patient_id": ("patient_id",),
    "age": ("age_approx", "age"),
    "sex": ("sex",),
    "site": ("anatom_site_general", "anatom_site_general_challenge", "anatom_site_2", "anatom_site_1"),
    "skin_type": ("fitzpatrick_skin_type",),
}
EXPECTED = (
    "isic_id and diagnosis (archive), image with MEL, NV, BCC ... (2018, 2019), or image_name and "
    "benign_malignant (2020)"
)
Label = Literal[
    "diagnosis", "benign_malignant", "diagnosis_1", "diagnosis_2", "diagnosis_3", "diagnosis_4", "diagnosis_5"
]


class Config(Frozen):
    """Any table of the International Skin Imaging Collaboration, with its images in folders or tars."""

    published: ClassVar[bool] = True

    kind: Literal["isic"] = "isic"
    path: Path = Field(description="the folder with the table and the images")
    tables: tuple[str, ...] = Field(
        default=(), description="the tables to read, below path, all of one layout; empty: the only one there"
    )
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    label: Label = Field(default="diagnosis", description="the column of the diagnosis; of one-hot tables: diagnosis")

    def read(self) -> pd.DataFrame:
        """One row an image; raises DataError naming the tables found and the columns expected."""
        files = self._files()
        table = pd.concat([self._table(file) for file in files], ignore_index=True)
        found = find_images(self.path, self.images)
        paths = locate(table["image_id"].fillna(""), found, "images/{}.jpg")
        return conform(translate(table).assign(path=paths, source="isic"), str(files[0]))

    def _files(self) -> list[Path]:
        """The tables of `dataset.tables`, or the one whose columns are those of a table of images."""
        if self.tables:
            return [self.path / name for name in self.tables]
        seen = _csv_files(self.path)
        found = [file for file, columns in seen.items() if _layout(columns)]
        if len(found) == 1:
            return found
        names = [file.relative_to(self.path).as_posix() for file in found]
        if names:
            raise DataError(
                f"dataset.path = {self.path}: {len(names)} tables of images, {', '.join(names)}; name the one to read "
                "as dataset.tables: [...] (params.yaml), or several of one layout that share no image"
            )
        others = "; ".join(f"{file.relative_to(self.path).as_posix()} has {seen[file][:12]}" for file in list(seen)[:5])
        raise DataError(
            f"dataset.path = {self.path}: no .csv with the columns of an ISIC table; expected {EXPECTED}; "
            f"{others or 'there is no .csv at all'}"
        )

    def _table(self, file: Path) -> pd.DataFrame:
        """One file in the contract's columns, as far as it has them."""
        table = _read(file)
        layout = _layout([str(name) for name in table])
        if layout is None:
            raise DataError(f"{file}: has {list(table)}, expected {EXPECTED}")
        if layout == "one_hot":
            table = _beside(table, self.path).assign(diagnosis=_decode(table, file))
        if self.label not in table or (layout == "one_hot" and self.label != "diagnosis"):
            usable = [name for name in get_args(Label) if name in table]
            raise DataError(
                f"dataset.label = {self.label} (params.yaml): {file} has no such column; expected one of {usable}"
            )
        return _named(table).assign(diagnosis=table[self.label])


def _csv_files(root: Path) -> dict[Path, list[str]]:
    """Every CSV file below a folder and its header, hidden ones left out."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder) / name for name in sorted(names) if name.endswith(".csv") and not name.startswith(".")]
    return {file: [_short(name) for name in _header(file)] for file in found}


def _header(file: Path) -> list[str]:
    """The first row as it stands; nothing for a file that is no table."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return next(csv.reader(stream), [])
    except (UnicodeDecodeError, csv.Error, OSError):  # some other program's file, or none
        return []


def _short(name: str) -> str:
    return reduce(str.removeprefix, PREFIXES, name.strip())


def _layout(columns: Sequence[str]) -> Literal["archive", "one_hot", "2020"] | None:
    """What a table's columns make it; None for the files beside the tables, such as lesion groupings."""
    has = set(columns)
    told = {"diagnosis", "benign_malignant", "diagnosis_1"} & has
    if {"image", "MEL", "NV", "BCC"} <= has:
        return "one_hot"
    if "image_name" in has and told:
        return "2020"
    return "archive" if told and {"isic_id", "name"} & has else None


def _read(file: Path) -> pd.DataFrame:
    """The whole table as text, its columns less the archive's prefixes."""
    return read_columns(file, _header(file)).rename(columns=_short)


def _decode(table: pd.DataFrame, file: Path) -> pd.Series:
    """The name of the column that holds the row's 1; UNK, and no 1 at all, are no diagnosis."""
    columns = [name for name in ONE_HOT if name in table]
    marks = table[columns].apply(pd.to_numeric, errors="coerce")
    wrong = ~marks.isin([0, 1]).all(axis="columns") | (marks.sum(axis="columns") > 1)
    if wrong.any():
        first = table[wrong].iloc[0]
        raise DataError(
            f"{file}: {wrong.sum()} rows are not one-hot, first {first['image']}: {first[columns].to_dict()}; "
            "expected 0 in every column and 1 in one at most"
        )
    word: pd.Series = marks.idxmax(axis="columns").where(marks.any(axis="columns"))
    return word.mask(word == "UNK")


def _beside(table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """The table joined with what other files tell of its images: lesions (2018), or lesion, age, sex, site (2019)."""
    wanted = {name for names in NAMES.values() for name in names} - {"image"}
    others = [
        _read(file)
        for file, columns in _csv_files(root).items()
        if "image" in columns and wanted & set(columns) and not _layout(columns)
    ]
    if not others:
        return table
    known = pd.concat(others, ignore_index=True)
    known = known[["image", *sorted(wanted & set(known))]].groupby("image", as_index=False).first()
    return table[["image"]].merge(known, on="image", how="left").set_axis(table.index)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The contract's columns, each from the first of its names that has something in the row."""
    named = {}
    for column, names in NAMES.items():
        cells = [_usable(table[name]) for name in names if name in table]
        if cells:
            named[column] = reduce(lambda first, second: first.fillna(second), cells)
    return pd.DataFrame(named)


def _usable(column: pd.Series) -> pd.Series:
    """The archive's second level of sites, such as `Upper arm`, where it says more than the first, else nothing."""
    if column.name != "anatom_site_2":
        return column
    return column.where(column.fillna("").map(is_site))
