"""DICOM files in folders, as a PACS or a dermatoscope exports them; of each, pixels and chosen attributes are read.

The rest of a file's attributes (names, dates, private ones) is never read, so that it cannot get into a table. What is
drawn into the pixels stays: a file that says so (BurnedInAnnotation, (0028,0301) = YES) is left out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal, Self

import pandas as pd
from pydantic import Field, field_validator, model_validator

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.fields import Share
from components.base.licence import Licence
from components.base.normal_form import clean
from components.data.adapters import OWN_IMAGES, ExampleData
from components.data.column_guess import IMAGE, guess_columns
from components.data.column_map import ColumnMap
from components.data.dicom_images import is_keyword, is_of_images, read_attributes
from components.data.file_kinds import is_container
from components.data.file_tree import list_images
from components.data.first_look import Certainty, FirstLook, Recognition, first_folders
from components.data.image_formats import HEAD, format_of_name, image_name, sniff
from components.data.joins import join_optional
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.source_error import SourceError
from components.data.sources import read_stored
from components.data.tables import TableFormat, read_table
from components.data.vocabulary import UNKNOWN, translate

FILE = "file"
ATTRIBUTES = {"patient_id": "PatientID", "age": "PatientAge", "sex": "PatientSex"}
SITES = ("AnatomicRegionSequence.CodeMeaning", "BodyPartExamined")  # the first that a file has counts
FACTS = ("NumberOfFrames", "BurnedInAnnotation", "RecognizableVisualFeatures", "Rows", "SOPClassUID")

_AGE = re.compile(r"([0-9]{1,3})([DWMY])")  # PS3.5, table 6.2-1
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_SKIN_OF = re.compile(r"^(entire )?skin (structure )?(of|and/or subcutaneous tissue of) (the )?", re.IGNORECASE)

EXAMPLE = ExampleData(
    dicom={
        "nv/1/IM0001.dcm": {
            "PatientID": "P1", "PatientAge": "045Y", "PatientSex": "F", "BodyPartExamined": "BACK",
            "PatientName": "Doe^Jane",
        },
        "mel/2/IM0001.dcm": {"PatientID": "P2", "PatientAge": "006M", "PatientSex": "M"},
        "mel/2/IM0002": {"PatientID": "P2", "AnatomicRegionSequence": [{"CodeMeaning": "Skin of scalp"}]},
    },
    settings={"folders": True},
)  # fmt: skip


class SideTable(Frozen):
    """A table beside the files with what they do not say, such as the diagnoses."""

    file: str = Field(min_length=1, description="the table below dataset.path")
    key: str = Field(min_length=1, description="its column that says which images a row is about")
    matches: str = Field(
        default=FILE, description="what the column holds: file (names of files), or a DICOM keyword, such as PatientID"
    )
    columns: ColumnMap = Field(description="column of the common table: column of this one")
    min_matched: Share = Field(default=0.9, description="share of images about which the table must know")


class Config(Frozen):
    """Where the diagnosis is: `folders`, a keyword in `attributes`, or `table`."""

    published: ClassVar[bool] = False
    licence: ClassVar[Licence] = OWN_IMAGES

    kind: Literal["dicom"] = "dicom"
    path: Path = Field(description="the folder with the DICOM files, with or without the suffix .dcm")
    folders: bool = Field(default=False, description="whether the first subfolder on a file's path is the diagnosis")
    unlabelled: str = Field(default="unlabelled", min_length=1, description="subfolder of images without a diagnosis")
    attributes: ColumnMap = Field(
        default={},
        description="column of the common table: DICOM keyword, in addition to patient_id: PatientID, age: PatientAge, "
        "sex: PatientSex and the site; A.B is B in the first item of the sequence A",
    )
    table: SideTable | None = None
    frames: Literal["first", "all"] = Field(default="first", description="of a file with several frames")
    burned_in: Literal["leave_out", "keep"] = Field(
        default="leave_out", description="files that say that text is drawn into their pixels"
    )
    format: TableFormat = TableFormat()

    @field_validator("attributes")
    @classmethod
    def _are_standard(cls, attributes: Mapping[str, str]) -> Mapping[str, str]:
        others = sorted(keyword for keyword in attributes.values() if not is_keyword(keyword))
        if others:
            raise ValueError(f"gives {others}, expected keywords of the DICOM standard such as StudyDescription")
        return attributes

    @field_validator("table")
    @classmethod
    def _matches_known(cls, table: SideTable | None) -> SideTable | None:
        if table is None:
            return None
        if table.matches != FILE and not is_keyword(table.matches):
            raise ValueError(f"has matches: {table.matches!r}, expected file or a DICOM keyword such as PatientID")
        return table

    @model_validator(mode="after")
    def _one_diagnosis(self) -> Self:
        named = [
            name
            for name, given in (
                ("folders: true", self.folders),
                ("attributes.diagnosis", "diagnosis" in self.attributes),
                ("table.columns.diagnosis", self.table is not None and "diagnosis" in self.table.columns),
            )
            if given
        ]
        if len(named) != 1:
            found = f"{', '.join(named)} are" if named else "nothing is"
            raise ValueError(
                f"{found} set for the diagnosis, expected one of dataset.folders: true, dataset.attributes.diagnosis "
                "(a DICOM keyword) and dataset.table.columns.diagnosis"
            )
        return self

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a file with an image, or a frame."""
        files = [file for file in list_images(self.path) if self._is_dicom(file)]
        if not files:
            raise DataError(
                f"dataset.path = {self.path}: no DICOM file there (.dcm, or DICM at byte 128); for other images set "
                "dataset.kind: folder or table"
            )
        keywords = {**ATTRIBUTES, **self.attributes}
        key = [] if self.table is None or self.table.matches == FILE else [self.table.matches]
        read = self._attributes(files, [*keywords.values(), *SITES, *FACTS, *key], report)
        rows = pd.DataFrame([row for file, found in read.items() for row in self._rows(file, found, keywords, key)])
        if rows.empty:
            raise DataError(f"dataset.path = {self.path}: no DICOM file of {len(files)} is used; see the warnings")
        if self.table is not None:
            rows = self._joined(rows, self.table, report)
        table = translate(rows.drop(columns="key")).assign(source="dicom")
        return conform(table, str(self.path), report)

    def _is_dicom(self, file: str) -> bool:
        """By the suffix, and by the first bytes where there is none."""
        if format_of_name(file) is not None or not (self.path / file).is_file():
            return format_of_name(file) == "DICOM"
        with (self.path / file).open("rb") as stream:
            return sniff(stream.read(HEAD)) == "DICOM"

    def _attributes(self, files: list[str], keywords: list[str], report: ReadReport) -> dict[str, dict[str, str]]:
        """File -> its attributes, of the files that are used; what is left out is counted."""
        found: dict[str, dict[str, str]] = {}
        damaged, without_image, burned_in = [], [], []
        for file in files:
            try:
                row = self._of_file(file, keywords)
            except SourceError:
                damaged.append(file)
                found[file] = {}
                continue
            if "Rows" not in row and not is_of_images(row.get("SOPClassUID")):
                without_image.append(file)
                continue
            if "Rows" not in row:
                damaged.append(file)
            if self.burned_in == "leave_out" and row.get("BurnedInAnnotation") == "YES":
                burned_in.append(file)
            else:
                found[file] = row
        faces = [file for file, row in found.items() if row.get("RecognizableVisualFeatures") == "YES"]
        several = [file for file, row in found.items() if _frames(row) > 1 and self.frames == "first"]
        for kind, names, words in (
            (
                "unread_attributes",
                damaged,
                "cannot be read, or not completely; validation gives the reason",
            ),
            ("no_image", without_image, "are left out, as they hold no image, such as reports"),
            (
                "burned_in",
                burned_in,
                "are left out, as they say that text is drawn into their pixels (BurnedInAnnotation), perhaps a name; "
                "dataset.burned_in: keep reads them",
            ),
            ("recognisable", faces, "say that a person can be recognised (RecognizableVisualFeatures)"),
            ("further_frames", several, "have several frames; the first is read, with dataset.frames: all every one"),
        ):
            if names:
                report.warn(kind, len(names), f"{len(names)} DICOM files {words}", names)
        return found

    def _of_file(self, file: str, keywords: list[str]) -> dict[str, str]:
        place = self.path / file
        if not place.is_file():  # a member of a tar
            return read_attributes(io.BytesIO(read_stored(self.path, file)), keywords)
        try:
            with place.open("rb") as stream:
                return read_attributes(stream, keywords)
        except OSError as error:
            raise SourceError("unreadable", error.strerror or "cannot be read") from error

    def _rows(
        self, file: str, found: Mapping[str, str], keywords: Mapping[str, str], key: list[str]
    ) -> list[dict[str, str | None]]:
        """A row of a file, or of each of its frames."""
        row = {ours: found.get(keyword) for ours, keyword in keywords.items()}
        row["age"] = _years(row["age"])
        row["sex"] = UNKNOWN if row["sex"] == "O" else row["sex"]  # other
        if "site" not in keywords:
            site = next((found[name] for name in SITES if name in found), None)
            row["site"] = None if site is None or site.upper() == "SKIN" else _SKIN_OF.sub("", site)
        if self.folders:
            row["diagnosis"] = self._folder(file)
        row["key"] = found.get(key[0]) if key else image_name(file)
        count = _frames(found)
        name = row.get("image_id") or file
        if count == 1 or not file.lower().endswith(".dcm"):
            return [{**row, "image_id": name, "path": file}]
        numbers = range(1, count + 1 if self.frames == "all" else 2)
        lesion = row.get("lesion_id") or name  # frames of one file show one lesion
        return [
            {**row, "image_id": f"{name}/{number}", "path": f"{file}/{number}", "lesion_id": lesion}
            for number in numbers
        ]

    def _folder(self, file: str) -> str | None:
        """The first subfolder on the path, or a tar's name."""
        parts = PurePosixPath(file).parts[:-1]
        folders = [part for part in parts if not is_container(part)] + [PurePosixPath(part).stem for part in parts]
        if not folders:
            raise DataError(
                f"dataset.path = {self.path}: DICOM files lie in no subfolder, but dataset.folders is true; expected a "
                "subfolder for each diagnosis"
            ).with_words(f"first {file}")
        return None if clean(folders[0]) == clean(self.unlabelled) else folders[0]

    def _joined(self, rows: pd.DataFrame, side: SideTable, report: ReadReport) -> pd.DataFrame:
        wanted = [side.key, *side.columns.values()]
        cells = read_table(self.path / side.file, wanted, report, form=self.format, root=self.path)
        other = pd.DataFrame({"key": cells[side.key], **{ours: cells[name] for ours, name in side.columns.items()}})
        if side.matches == FILE:
            other["key"] = [None if pd.isna(name) else image_name(name.replace("\\", "/")) for name in other["key"]]
        ours = rows.drop(columns=[name for name in side.columns if name in rows and rows[name].isna().all()])
        return join_optional(ours, other, "key", name=side.file, minimum=side.min_matched, report=report)


def recognise(look: FirstLook) -> Recognition | None:
    """Where most images are DICOM; the diagnosis is a folder, a column of a table by file or patient, or not found."""
    images, config = look.images, Config(path=look.root, folders=True)
    files = [file for file in images if config._is_dicom(file)]
    if not files or 2 * len(files) < len(images):
        return None
    seen = f"{len(files)} DICOM files"
    for path, table in look.tables.items():
        columns = guess_columns(table.header)
        key, matches = (
            (columns.get(IMAGE), FILE) if IMAGE in columns else (columns.get("patient_id"), ATTRIBUTES["patient_id"])
        )
        if key is not None and "diagnosis" in columns:
            taken = {ours: name for ours, name in columns.items() if ours in ("diagnosis", "lesion_id")}
            note = f"dataset.table: {path} is joined by {key!r} ({matches}); its columns were found by their names"
            side = {"file": path, "key": key, "matches": matches, "columns": taken}
            return Recognition(Certainty.FORMAT, f"{seen}, {path}", {"table": side}, (note,))
    if len(first_folders(files)) > 1:
        return Recognition(Certainty.FORMAT, f"{seen} in folders", {"folders": True})
    note = (
        "the diagnosis was not found: it is in no folder and in no table; set dataset.attributes.diagnosis to a DICOM "
        "keyword, or dataset.table"
    )
    return Recognition(Certainty.FORMAT, seen, {"folders": True}, (note,))


def _frames(found: Mapping[str, str]) -> int:
    text = found.get("NumberOfFrames", "")
    return max(int(text), 1) if text.isascii() and text.isdigit() else 1


def _years(age: str | None) -> str | None:
    """Years as text from DICOM's `045Y` or `006M`; another text stays, so that it is named."""
    match = _AGE.fullmatch(age or "")
    return f"{int(match.group(1)) * _YEARS[match.group(2)]:.4g}" if match else age
