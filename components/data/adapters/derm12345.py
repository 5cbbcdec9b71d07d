"""DERM12345: derm12345_metadata_train.csv and _test.csv next to the folders of images, as published on Dataverse.

Yilmaz et al.: DERM12345: A Large, Multisource Dermatoscopic Skin Lesion Dataset with 40 Subclasses, Sci Data 11:1302
(2024). The copy in the ISIC Archive has the archive's table: adapter `isic`.
"""

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

TABLES = ("derm12345_metadata_train.csv", "derm12345_metadata_test.csv")
HEADER = "patient_id,image_id,label,super_class,malignancy,main_class_1,main_class_2,sub_class\n"

EXAMPLE = ExampleData(
    texts={
        TABLES[0]: (
            f"{HEADER}"
            "P1,derm_1,jd,melanocytic benign,benign,banal,dysplastic,junctional dysplastic\n"
            "P1,derm_2,mel,melanocytic malignant,malignant,melanoma,melanoma,melanoma\n"
        ),
        TABLES[1]: f"{HEADER}P2,derm_3,sk,nonmelanocytic benign,benign,keratinocytic,sk,seborrheic keratosis\n",
    },
    images=(
        "derm12345_train_part_1/jd/derm_1.jpg",
        "derm12345_train_part_2/mel/derm_2.jpg",
        "derm12345_test/sk/derm_3.jpg",
    ),
)


class Config(Frozen):
    """The 12,345 dermoscopic images of DERM12345; patients where the table has their column, no lesions."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="DERM12345",
        licence="CC BY 4.0",
        commercial=True,
        citation="Yilmaz et al.: DERM12345: A Large, Multisource Dermatoscopic Skin Lesion Dataset with 40 Subclasses, "
        "Sci Data 11:1302 (2024)",
        home="Imperial College London; doi:10.34970/705541",
        note="The terms that the ISIC Archive states for these images.",
    )

    kind: Literal["derm12345"] = "derm12345"
    path: Path = Field(description=f"the folder with {TABLES[0]}, {TABLES[1]} or both, and the images")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    format: TableFormat = TableFormat()
    label: Literal["label", "super_class", "malignancy", "main_class_1", "main_class_2", "sub_class"] = Field(
        default="label", description="the column of the diagnosis, from the code of 40 subclasses to malignancy"
    )

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row of the tables; the official split is not used, since its tables are one data set."""
        files = [file for name in TABLES if (file := find_table(self.path / name)).is_file()]
        if not files:
            raise DataError(f"dataset.path = {self.path}: neither {TABLES[0]} nor {TABLES[1]} is there; put them there")
        columns = ["image_id", self.label]
        tables = [
            read_table(file, columns, report, form=self.format, optional=["patient_id"], root=self.path)
            for file in files
        ]
        table = pd.concat(tables, ignore_index=True).rename(columns={self.label: "diagnosis"})
        paths = locate(table["image_id"].fillna(""), find_images(self.path, self.images), "images/{}.jpg", report)
        return conform(translate(table).assign(path=paths, source="derm12345"), str(self.path), report)


def recognise(look: FirstLook) -> Recognition | None:
    """By its table."""
    table = look.published_table(TABLES, ("image_id", "label", "super_class", "malignancy"))
    return Recognition(Certainty.PUBLISHED, f"{table} is that of DERM12345") if table else None
