"""HAM10000: HAM10000_metadata.csv next to its JPEGs, in images/, as unpacked from the two archives, or in tars."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.data.adapters import ExampleData
from components.data.first_look import Certainty, FirstLook, Recognition
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.sources import find_images, locate
from components.data.tables import TableFormat, find_table, read_table
from components.data.vocabulary import translate

METADATA = "HAM10000_metadata.csv"
FOLDERS = ("images", "HAM10000_images_part_1", "HAM10000_images_part_2")  # preferred to copies elsewhere
COLUMNS = {
    "image_id": "image_id",
    "dx": "diagnosis",  # akiec, bcc, bkl, df, mel, nv, vasc
    "lesion_id": "lesion_id",
    "age": "age",
    "sex": "sex",
    "localization": "site",
}

OPTIONAL = {"dx_type": "confirmation"}  # histo, follow_up, consensus, confocal

EXAMPLE = ExampleData(
    texts={
        METADATA: (
            "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
            "L1,ISIC_1,nv,histo,45.0,male,back\n"
            "L1,ISIC_2,nv,histo,45.0,male,scalp\n"
            "L2,ISIC_3,mel,histo,,unknown,\n"
        )
    },
    images=("images/ISIC_1.jpg", "images/ISIC_2.jpg", "images/ISIC_3.jpg"),
)


class Config(Frozen):
    """The 10,015 dermoscopic images of HAM10000; it names lesions, but no patients."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="HAM10000",
        licence="CC BY-NC 4.0",
        commercial=False,
        citation="Tschandl, Rosendahl, Kittler: The HAM10000 dataset, Sci Data 5:180161 (2018)",
        home="ViDIR group, Medical University of Vienna; doi:10.7910/DVN/DBW86T",
    )

    kind: Literal["ham10000"] = "ham10000"
    path: Path = Field(description=f"the folder with {METADATA} and images/")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    format: TableFormat = TableFormat()

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row of the metadata."""
        file = find_table(self.path / METADATA)
        if not file.is_file():
            raise DataError(
                f"dataset.path = {self.path}: {file} is missing; put {METADATA} there, and the JPEGs into "
                f"{self.path / FOLDERS[0]}"
            )
        table = read_table(file, list(COLUMNS), report, form=self.format, optional=list(OPTIONAL), root=self.path)
        table = table.rename(columns={**COLUMNS, **OPTIONAL})
        found = find_images(self.path, self.images, FOLDERS)
        paths = locate(table["image_id"].fillna(""), found, "images/{}.jpg", report)
        return conform(translate(table).assign(path=paths, source="ham10000"), str(file), report)


def recognise(look: FirstLook) -> Recognition | None:
    """By its table."""
    table = look.published_table((METADATA,), COLUMNS)
    return Recognition(Certainty.PUBLISHED, f"{table} is that of HAM10000") if table else None
