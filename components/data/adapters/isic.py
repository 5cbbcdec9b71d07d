"""ISIC: the archive's metadata, and the tables of the challenges of 2018 (task 3), 2019 and 2020.

The columns of a file show which of them it is:

    archive    isic_id (before 2022: name)   diagnosis, or diagnosis_1 to diagnosis_5 from coarse to fine
    2018, 2019 image, MEL, NV, BCC ...       one column a diagnosis; lesions, age, sex and site in a second file
    2020       image_name                    diagnosis, mostly `unknown`, and benign_malignant
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import ClassVar, Literal, get_args

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.fields import Share
from components.base.licence import Licence
from components.data.adapters import ExampleData
from components.data.joins import join_optional
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.sources import find_images, locate
from components.data.tables import SUFFIXES, TableFormat, read_header, read_table
from components.data.vocabulary import is_site, translate

ONE_HOT = ("MEL", "NV", "BCC", "AK", "AKIEC", "BKL", "DF", "VASC", "SCC", "UNK")
PREFIXES = ("meta.clinical.", "meta.acquisition.")  # the archive's, before 2022
# Column of the common table -> its names in the tables; the first that has a value in the row counts.
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

EXAMPLE = ExampleData(
    texts={
        "ISIC_2020_Training_GroundTruth_v2.csv": (
            "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
            "benign_malignant,target\n"
            "ISIC_1,IP_1,IL_1,male,45,head/neck,unknown,benign,0\n"
            "ISIC_2,IP_1,IL_2,,,,melanoma,malignant,1\n"
            "ISIC_3,IP_2,IL_3,female,90,palms/soles,nevus,benign,0\n"
        ),
        "ISIC_2020_Training_Duplicates.csv": "image_name_1,image_name_2\nISIC_1,ISIC_3\n",
    },
    images=("train/ISIC_1.jpg", "train/ISIC_2.jpg", "train/ISIC_3.jpg"),
)


class Config(Frozen):
    """Any table of the International Skin Imaging Collaboration, with its images in folders or tars."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="ISIC Archive",
        licence="each image its own: CC0, CC BY or CC BY-NC",
        commercial=None,
        citation="Codella et al., arXiv:1902.03368 (2018); Combalia et al., arXiv:1908.02288 (2019); Rotemberg et "
        "al., Sci Data 8:34 (2021)",
        home="International Skin Imaging Collaboration; isic-archive.com",
        note="The archive's metadata names each image's licence (copyright_license); the strictest of them binds.",
    )

    kind: Literal["isic"] = "isic"
    path: Path = Field(description="the folder with the table and the images")
    tables: tuple[str, ...] = Field(
        default=(), description="the tables to read, below path, all of one layout; empty: the only one there"
    )
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    format: TableFormat = TableFormat()
    min_matched: Share = Field(
        default=0.9, description="share of images that each further table (lesions, metadata) must know"
    )
    label: Label = Field(default="diagnosis", description="the column of the diagnosis; of one-hot tables: diagnosis")

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row an image; a DataError names the tables found and the columns expected."""
        files = self._files()
        table = pd.concat([self._table(file, report) for file in files], ignore_index=True)
        found = find_images(self.path, self.images)
        paths = locate(table["image_id"].fillna(""), found, "images/{}.jpg")
        return conform(translate(table).assign(path=paths, source="isic"), str(files[0]), report)

    def _files(self) -> list[Path]:
        """The tables of `dataset.tables`, or the only one with the columns of a table of images."""
        if self.tables:
            return [self.path / name for name in self.tables]
        seen = _tables(self.path, self.format)
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
            f"dataset.path = {self.path}: no table with the columns of an ISIC table; expected {EXPECTED}; "
            f"{others or 'there is no table at all'}"
        )

    def _table(self, file: Path, report: ReadReport) -> pd.DataFrame:
        """One file in the columns of the common table, those that it has."""
        table = _read(file, self, report)
        layout = _layout([str(name) for name in table])
        if layout is None:
            raise DataError(f"{file}: has {list(table)}, expected {EXPECTED}")
        if layout == "one_hot":
            table = _join_other_files(table.assign(diagnosis=_decode(table, file)), file, self, report)
        if self.label not in table or (layout == "one_hot" and self.label != "diagnosis"):
            usable = [name for name in get_args(Label) if name in table]
            raise DataError(
                f"dataset.label = {self.label} (params.yaml): {file} has no such column; expected one of {usable}"
            )
        return _common_columns(table).assign(diagnosis=table[self.label])


def _tables(root: Path, form: TableFormat) -> dict[Path, list[str]]:
    """Every table below a folder with the names in its header, except hidden files."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        tables = [name for name in sorted(names) if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
        found += [Path(folder) / name for name in tables]
    return {file: [_short(name) for name in _header(file, form)] for file in found}


def _header(file: Path, form: TableFormat) -> list[str]:
    """The names in the header; empty for a file that is no table."""
    try:
        return read_header(file, form)
    except DataError:  # a file of another program
        return []


def _short(name: str) -> str:
    return reduce(str.removeprefix, PREFIXES, name.strip())


def _layout(columns: Sequence[str]) -> Literal["archive", "one_hot", "2020"] | None:
    """The layout by a table's columns; None for additional files, such as lesion groupings."""
    has = set(columns)
    diagnoses = {"diagnosis", "benign_malignant", "diagnosis_1"} & has
    if {"image", "MEL", "NV", "BCC"} <= has:
        return "one_hot"
    if "image_name" in has and diagnoses:
        return "2020"
    return "archive" if diagnoses and {"isic_id", "name"} & has else None


def _read(file: Path, config: Config, report: ReadReport) -> pd.DataFrame:
    """The whole table as text, the archive's prefixes removed from its columns."""
    header = read_header(file, config.format)
    return read_table(file, header, report, form=config.format, root=config.path).rename(columns=_short)


def _decode(table: pd.DataFrame, file: Path) -> pd.Series:
    """The name of the column with the row's 1; missing for UNK and for rows without a 1."""
    columns = [name for name in ONE_HOT if name in table]
    marks = table[columns].apply(pd.to_numeric, errors="coerce")
    wrong = ~marks.isin([0, 1]).all(axis="columns") | (marks.sum(axis="columns") > 1)
    if wrong.any():
        first = table[wrong].iloc[0]
        raise DataError(
            f"{file}: {wrong.sum()} rows are not one-hot, first {first['image']}: {first[columns].to_dict()}; "
            "expected 0 in every column and 1 in at most one"
        )
    diagnosis: pd.Series = marks.idxmax(axis="columns").where(marks.any(axis="columns"))
    return diagnosis.mask(diagnosis == "UNK")


def _join_other_files(table: pd.DataFrame, own: Path, config: Config, report: ReadReport) -> pd.DataFrame:
    """The table joined with other files about its images: lesions (2018), or lesion, age, sex, site (2019)."""
    wanted = {name for names in NAMES.values() for name in names} - set(NAMES["image_id"])
    for file, columns in _tables(config.path, config.format).items():
        keys = [name for name in NAMES["image_id"] if name in columns]
        if file == own or _layout(columns) or not wanted & set(columns):
            continue
        name = file.relative_to(config.path).as_posix()
        if not keys:
            report.warn("not_joined", 1, f"{name} has columns about images, but no id of an image; it is not read")
            continue
        other = _read(file, config, report).rename(columns={keys[0]: "image"})
        other = other[["image", *sorted(wanted & set(other))]]
        table = join_optional(table, other, "image", name=name, minimum=config.min_matched, report=report)
    return table


def _common_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of the common table, each from the first of its names that has a value in the row."""
    named = {}
    for column, names in NAMES.items():
        cells = [_known_sites(table[name]) for name in names if name in table]
        if cells:
            named[column] = reduce(lambda first, second: first.fillna(second), cells)
    return pd.DataFrame(named)


def _known_sites(column: pd.Series) -> pd.Series:
    """A column; of the archive's second level of sites, such as `Upper arm`, only the values that are known sites."""
    if column.name != "anatom_site_2":
        return column
    return column.where(column.fillna("").map(is_site))
