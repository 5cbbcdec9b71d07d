"""ISIC: the archive's metadata, and the tables of the challenges of 2018 (task 3), 2019 and 2020.

The columns of a file show which of them it is:

    archive    isic_id (before 2022: name)   diagnosis, or diagnosis_1 to diagnosis_5 from coarse to fine
    2018, 2019 image, MEL, NV, BCC ...       one column a diagnosis; lesions, age, sex and site in a second file
    2020       image_name                    diagnosis, mostly `unknown`, and benign_malignant

Every other table below the folder that names images and their lesions, patients, ages, sexes, sites or skin types is
joined by the image's id, however it is spelled.
"""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.fields import Share
from components.base.licence import Licence
from components.data.adapters import ExampleData
from components.data.first_look import Certainty, FirstLook, Recognition
from components.data.joins import join_tables
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.sources import find_images, locate
from components.data.tables import SUFFIXES, TableFormat, open_table, read_table
from components.data.vocabulary import decimal_point, diagnosis, is_site, translate

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
    "confirmation": ("diagnosis_confirm_type",),
}
KEYS = (*NAMES["image_id"], "image_id", "img_id", "filename", "file_name", "file")
"""Names of the column with the image's id in a table beside the main one, the first that it has."""

Label = Literal[
    "diagnosis", "benign_malignant", "diagnosis_1", "diagnosis_2", "diagnosis_3", "diagnosis_4", "diagnosis_5"
]
ABOUT = frozenset(name for column, names in NAMES.items() if column != "image_id" for name in names)
KNOWN = frozenset({*KEYS, *get_args(Label), *ABOUT, *ONE_HOT})
EXPECTED = (
    "isic_id and diagnosis (archive), image with MEL, NV, BCC ... (2018, 2019), or image_name and "
    "benign_malignant (2020)"
)
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
        headers = _headers(self.path, self.format, report)
        headers = _without_copies(headers, {self.path / name for name in self.tables}, self.path, report)
        files = self._files(headers, report)
        table = pd.concat([self._table(file, report) for file in files], ignore_index=True)
        others = self._others(files, headers, report)
        table = join_tables(table, others, "image_id", minimum=self.min_matched, report=report)
        found = find_images(self.path, self.images)
        paths = locate(table["image_id"].fillna(""), found, "images/{}.jpg", report)
        return conform(translate(table).assign(path=paths, source="isic"), str(files[0]), report)

    def _files(self, headers: Mapping[Path, Sequence[str]], report: ReadReport) -> list[Path]:
        """The tables of `dataset.tables`, or the only one with the columns of a table of images."""
        if self.tables:
            return [self.path / name for name in self.tables]
        found = [file for file, columns in headers.items() if _layout(columns)]
        if len(found) == 1:
            return found
        names = [_name(file, self.path) for file in found]
        if names:
            raise DataError(
                f"dataset.path = {self.path}: {len(names)} tables of images, {', '.join(names)}; name the one to read "
                "as dataset.tables: [...] (params.yaml), or several of one layout that share no image"
            )
        unread = "; ".join(each.message for each in report.warnings if each.kind == "unread_tables")
        others = ", ".join(f"{_name(file, self.path)} ({len(headers[file])} columns)" for file in list(headers)[:5])
        raise DataError(
            f"dataset.path = {self.path}: no table with the columns of an ISIC table; expected {EXPECTED}; "
            f"{'; '.join(words for words in (others, unread) if words) or 'there is no table at all'}"
        ).with_words(
            "; ".join(f"{_name(file, self.path)} has {list(headers[file])[:12]}" for file in list(headers)[:5])
        )

    def _table(self, file: Path, report: ReadReport) -> pd.DataFrame:
        """One file in the columns of the common table, those that it has."""
        table = _read(file, self, report)
        layout = _layout([str(name) for name in table])
        if layout is None:
            raise DataError(f"{file}: lacks the columns of a table of images, expected {EXPECTED}").with_words(
                f"it has {_open(file, self.path, self.format)[:30]}"
            )
        if layout == "one_hot":
            table = table.assign(diagnosis=_decode(table, file))
        if self.label not in table or (layout == "one_hot" and self.label != "diagnosis"):
            usable = [name for name in get_args(Label) if name in table]
            raise DataError(
                f"dataset.label = {self.label} (params.yaml): {file} has no such column; expected one of {usable}"
            )
        return _common_columns(table).assign(diagnosis=table[self.label])

    def _others(
        self, own: Sequence[Path], headers: Mapping[Path, Sequence[str]], report: ReadReport
    ) -> dict[str, pd.DataFrame]:
        """Name -> each further table about images, in the common columns: lesions (2018), age, sex, site (2019) ..."""
        found = {}
        for file, columns in headers.items():
            about = sorted(ABOUT & set(columns))
            if file in own or not about:
                continue
            name, key = _name(file, self.path), next((name for name in KEYS if name in columns), None)
            if key is None:
                report.warn("not_joined", 1, f"{name} has {', '.join(about)}, but no id of an image; it is not used")
                continue
            table = _read(file, self, report)
            found[name] = _common_columns(table).assign(image_id=table[key])
        return found


def recognise(look: FirstLook) -> Recognition | None:
    """By the columns of a table and by ids such as ISIC_0024306: other images with such columns are not published."""
    found = {path: layout for path, table in look.tables.items() if (layout := _layout_of(table.header))}
    found = {path: layout for path, layout in found.items() if _has_isic_ids(look, path)}
    if not found:
        return None
    seen = f"{', '.join(found)}: the columns of an ISIC table ({next(iter(found.values()))})"
    settings: dict[str, Any] = {"tables": [look.only]} if look.only in found else {}
    notes: tuple[str, ...] = ()
    if len(found) > 1:
        notes = ("several tables of images: name the one to read as dataset.tables, or give its path to `init`",)
    elif (label := _stated_label(look, next(iter(found)))) != "diagnosis":
        settings["label"] = label
        notes = (f"dataset.label: {label}, as `diagnosis` is not stated for most images",)
    return Recognition(Certainty.PUBLISHED, seen, settings, notes)


def _layout_of(header: Sequence[str]) -> str | None:
    return _layout(list(_canonical(header).values()))


def _has_isic_ids(look: FirstLook, table: str) -> bool:
    """Whether most ids are those of the ISIC Archive."""
    names = _canonical(look.tables[table].header)
    column = next(theirs for theirs, ours in names.items() if ours in NAMES["image_id"])
    ids = look.cells(table, [column])[column].fillna("")
    return bool(ids.str.contains(r"ISIC_[0-9]", regex=True).mean() > 0.5)


def _stated_label(look: FirstLook, table: str) -> str:
    """`diagnosis` where it is stated for most images, or the table has nothing better."""
    names = {ours: theirs for theirs, ours in _canonical(look.tables[table].header).items()}
    for label in ("diagnosis", "benign_malignant", "diagnosis_1"):
        if label in names:
            words = look.cells(table, [names[label]])[names[label]].fillna("")
            if words.map(lambda word: diagnosis(word) is not None).mean() > 0.5:
                return label
    return "diagnosis"


def _headers(root: Path, form: TableFormat, report: ReadReport) -> dict[Path, list[str]]:
    """Every table below a folder with the names in its header; hidden files and those that are no table are left out.

    A file that cannot be read is named in a warning, unless it is a text without any name of a column that is used.
    """
    headers = {}
    for file in _tables(root):
        try:
            headers[file] = list(_canonical(_open(file, root, form)).values())
        except DataError as error:
            reason = str(error).removeprefix(f"{file}: ")
            if file.suffix.lower() != ".txt" or _mentions_columns(file):
                report.warn("unread_tables", 1, f"{_name(file, root)} is not used, since it cannot be read: {reason}")
    return headers


def _tables(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        tables = [name for name in sorted(names) if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
        found += [Path(folder) / name for name in tables]
    return found


def _open(file: Path, root: Path, form: TableFormat) -> list[str]:
    """The names in a table's header, each once."""
    header = open_table(file, form, expected=sorted(KNOWN), root=root).header
    return [name for name in dict.fromkeys(header) if name]


def _mentions_columns(file: Path) -> bool:
    """Whether the first line of a text has the name of a column that is used, whatever its encoding and separator."""
    with file.open("rb") as opened:
        line = opened.readline(65_536).replace(b"\0", b"").decode("ascii", "ignore")
    words = [word.strip("\"' \r\n") for word in re.split("[,;\t|]", line)]
    return bool(set(_canonical(words).values()) & KNOWN)


def _canonical(names: Iterable[str]) -> dict[str, str]:
    """Name in a table -> name of KNOWN that it means: without the archive's prefixes, in any case, blanks as _."""
    known = {name.lower(): name for name in KNOWN}
    given = [(name, reduce(str.removeprefix, PREFIXES, name.strip())) for name in names]
    taken = {short for _, short in given}
    found = {}
    for name, short in given:
        meant = known.get(re.sub(r"[\s-]+", "_", short.lower()), short)
        found[name] = short if meant != short and meant in taken else meant
        taken.add(found[name])
    return found


def _without_copies(
    headers: Mapping[Path, list[str]], named: set[Path], root: Path, report: ReadReport
) -> dict[Path, list[str]]:
    """The tables, each content once: of `md.csv` and its copy `md (1).csv` the shorter name stays.

    Args:
        headers: file -> names in its header.
        named: files of `dataset.tables`, which stay.
        root: folder of the data set.
        report: gets a warning for each copy.
    """
    used = [file for file, columns in headers.items() if KNOWN & set(columns)]
    kept: list[Path] = []
    for file in sorted(used, key=lambda file: (file not in named, len(file.name), file)):
        same = next((other for other in kept if file not in named and filecmp.cmp(file, other, shallow=False)), None)
        if same is None:
            kept.append(file)
        else:
            report.warn("same_table", 1, f"{_name(file, root)} is a copy of {_name(same, root)}; it is read once")
    return {file: columns for file, columns in headers.items() if file in kept or file not in used}


def _name(file: Path, root: Path) -> str:
    return Path(os.path.relpath(file, root)).as_posix()


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
    """The columns of KNOWN that a table has, as text."""
    names = {
        theirs: ours for theirs, ours in _canonical(_open(file, config.path, config.format)).items() if ours in KNOWN
    }
    return read_table(file, list(names), report, form=config.format, root=config.path).rename(columns=names)


def _decode(table: pd.DataFrame, file: Path) -> pd.Series:
    """The name of the column with the row's 1; missing for UNK and for rows without a 1."""
    columns = [name for name in ONE_HOT if name in table]
    points = table[columns].map(decimal_point, na_action="ignore")
    marks = points.apply(pd.to_numeric, errors="coerce")
    wrong = ~marks.isin([0, 1]).all(axis="columns") | (marks.sum(axis="columns") > 1)
    if wrong.any():
        first = table[wrong].iloc[0]
        raise DataError(
            f"{file}: {wrong.sum()} rows are not one-hot; expected 0 in every column of a diagnosis and 1 in at most "
            "one"
        ).with_words(f"first {first['image']}: {first[columns].to_dict()}")
    diagnosis: pd.Series = marks.idxmax(axis="columns").where(marks.any(axis="columns"))
    return diagnosis.mask(diagnosis == "UNK")


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
