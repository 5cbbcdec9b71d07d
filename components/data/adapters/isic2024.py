"""ISIC 2024, SLICE-3D: 401,059 crops of 3D photographs of the whole body, from one HDF5 file or a folder of JPEGs.

Kurtansky et al.: The SLICE-3D dataset, Sci Data 11:884 (2024). Two layouts are published, and both are read:

    Kaggle          train-metadata.csv (target, iddx_1 ...), train-image.hdf5 (a dataset an image), train-image/image/
    ISIC Challenge  ISIC_2024_Training_GroundTruth.csv (malignant), ISIC_2024_Training_Supplement.csv (lesion,
                    iddx_1 ...), ISIC_2024_Training_Input/ with the JPEGs and metadata.csv (patient, age, sex, site)
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

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
from components.data.tables import TableFormat, read_table
from components.data.vocabulary import translate

KAGGLE = "train-metadata.csv"
TRUTH = "ISIC_2024*_GroundTruth.csv"  # of the Training or the Permissive_Training set
FURTHER = ("metadata.csv", "ISIC_2024*_Input/metadata.csv", "ISIC_2024*_Supplement.csv")
IMAGES = ("train-image.hdf5", "train-image", "ISIC_2024_Training_Input")
"""Where images are looked for first: the archive of Kaggle holds each of them twice."""

COLUMNS = {
    "isic_id": "image_id",
    "patient_id": "patient_id",
    "lesion_id": "lesion_id",  # of 22,058 images
    "age_approx": "age",
    "sex": "sex",
    "anatom_site_general": "site",
}
Label = Literal["target", "iddx_1", "iddx_2", "iddx_3", "iddx_4", "iddx_5", "iddx_full"]
TARGET = ("target", "malignant")
MALIGNANT = {"0": "benign", "0.0": "benign", "1": "malignant", "1.0": "malignant"}

EXAMPLE = ExampleData(
    texts={
        KAGGLE: (
            "isic_id,target,patient_id,age_approx,sex,anatom_site_general,clin_size_long_diam_mm,image_type,"
            "tbp_tile_type,attribution,copyright_license,lesion_id,iddx_full,iddx_1,iddx_2,mel_thick_mm\n"
            'ISIC_1,0,IP_1,60.0,male,lower extremity,3.04,TBP tile: close-up,3D: white,"A Hospital, B",CC-BY,,Benign,'
            "Benign,,\n"
            "ISIC_2,1,IP_1,60.0,male,head/neck,1.1,TBP tile: close-up,3D: white,A Hospital,CC-0,IL_2,"
            '"Malignant::Malignant melanocytic proliferations (Melanoma)",Malignant,'
            "Malignant melanocytic proliferations (Melanoma),0.4\n"
            "ISIC_3,0,IP_2,,,posterior torso,3.4,TBP tile: close-up,3D: XP,A Hospital,CC-BY-NC,,Benign,Benign,,\n"
        )
    },
    packed={"train-image.hdf5": {"ISIC_1": "", "ISIC_2": "", "ISIC_3": ""}},
)


class Config(Frozen):
    """The images of ISIC 2024; all patients are named, lesions of few images."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="ISIC 2024 (SLICE-3D)",
        licence="CC BY-NC 4.0",
        commercial=False,
        citation="Kurtansky et al.: The SLICE-3D dataset: 400,000 skin lesion image crops extracted from 3D TBP for "
        "skin cancer detection, Sci Data 11:884 (2024)",
        home="International Skin Imaging Collaboration; doi:10.34970/2024-slice-3d",
        note="The table names each image's own licence (copyright_license): CC-0, CC-BY or CC-BY-NC.",
    )

    kind: Literal["isic2024"] = "isic2024"
    path: Path = Field(description=f"the folder with {KAGGLE} (or {TRUTH}) and the images")
    images: str = Field(
        default="", description="subfolder, tar or HDF5 below path with the images; empty: train-image.hdf5 first"
    )
    label: Label = Field(
        default="iddx_1",
        description="column of the diagnosis, from coarse (iddx_1: Benign, Indeterminate, Malignant) to fine; of 1,068 "
        "images only iddx_2 and finer are known. target: benign or malignant",
    )
    format: TableFormat = TableFormat()
    min_matched: Share = Field(
        default=0.9, description="share of images that each further table (metadata, supplement) must know"
    )

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row of the first table."""
        file = self._table()
        table = self._read(file, [], report)
        others = {other.relative_to(self.path).as_posix(): other for other in self._further(file)}
        if others:
            tables = {name: self._read(other, ["isic_id"], report) for name, other in others.items()}
            tables = {name: other.rename(columns=COLUMNS) for name, other in tables.items()}
            table = table.rename(columns=COLUMNS)
            table = join_tables(table, tables, "image_id", minimum=self.min_matched, report=report)
        table = table.rename(columns=COLUMNS)
        table["diagnosis"] = self._diagnoses(table, file)
        paths = locate(
            table["image_id"].fillna(""), find_images(self.path, self.images, IMAGES), "train-image.hdf5/{}", report
        )
        own = [name for name in (*COLUMNS.values(), "diagnosis") if name in table]
        return conform(translate(table[own]).assign(path=paths, source="isic2024"), str(file), report)

    def _table(self) -> Path:
        found = [self.path / KAGGLE] if (self.path / KAGGLE).is_file() else sorted(self.path.glob(TRUTH))
        if len(found) == 1:
            return found[0]
        what = f"has {', '.join(file.name for file in found)}; keep one of them" if found else f"{KAGGLE} is missing"
        raise DataError(
            f"dataset.path = {self.path}: {what}; expected {KAGGLE} with train-image.hdf5 (Kaggle), or {TRUTH} with "
            "ISIC_2024_Training_Input/ (ISIC Challenge)"
        )

    def _further(self, first: Path) -> list[Path]:
        """The tables beside the ground truth of the ISIC Challenge; that of Kaggle has everything."""
        if first.name == KAGGLE:
            return []
        return sorted({file for pattern in FURTHER for file in self.path.glob(pattern)})

    def _read(self, file: Path, required: list[str], report: ReadReport) -> pd.DataFrame:
        wanted = [*COLUMNS, *TARGET, self.label]
        first = ["isic_id", *required] if file.name != KAGGLE else ["isic_id", "patient_id", *required]
        return read_table(file, list(dict.fromkeys(first)), report, form=self.format, optional=wanted, root=self.path)

    def _diagnoses(self, table: pd.DataFrame, file: Path) -> pd.Series:
        names = TARGET if self.label == "target" else (self.label,)
        name = next((name for name in names if name in table), None)
        if name is None:
            raise DataError(
                f"dataset.label = {self.label} (params.yaml): {file.name} and tables beside it have no such column; "
                "put the table that has it there (ISIC_2024_Training_Supplement.csv), or set label: target"
            )
        if self.label != "target":
            return table[name]
        wrong = table[name].notna() & ~table[name].isin(list(MALIGNANT))
        if wrong.any():
            raise DataError(f"{file}: {wrong.sum()} rows whose {name} is neither 0 nor 1; correct them").with_words(
                f"first {table.loc[wrong, name].iloc[0]!r}"
            )
        return table[name].map(MALIGNANT)


def recognise(look: FirstLook) -> Recognition | None:
    """By its table, of Kaggle or of the ISIC Challenge."""
    table = look.published_table((KAGGLE,), ("isic_id", "target", "iddx_1")) or look.published_table(
        (TRUTH,), ("isic_id", "malignant")
    )
    return Recognition(Certainty.PUBLISHED, f"{table} is that of ISIC 2024") if table else None
