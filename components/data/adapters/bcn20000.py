"""BCN20000: bcn_20k_train.csv and bcn_20k_test.csv next to the images, as published on figshare.

Hernández-Pérez et al.: BCN20000: Dermoscopic Lesions in the Wild, Sci Data 11:641 (2024). The copy in the ISIC Archive
has the archive's table: adapter `isic`. Rows of the test table have no diagnosis, so these images are unlabelled.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
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

TABLES = ("bcn_20k_train.csv", "bcn_20k_test.csv")
COLUMNS = {
    "bcn_filename": "image_id",
    "lesion_id": "lesion_id",
    "age_approx": "age",
    "sex": "sex",
    "anatom_site_general": "site",
}

EXAMPLE = ExampleData(
    texts={
        TABLES[0]: (
            "bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,capture_date,sex,split\n"
            "BCN_1.jpg,55.0,anterior torso,MEL,BCN_L1,2012-05-16,male,train\n"
            "BCN_2.jpg,55.0,anterior torso,MEL,BCN_L1,2012-05-16,male,train\n"
            "BCN_3.jpg,,,NV,,2013-01-02,,train\n"
        ),
        TABLES[1]: (
            "bcn_filename,age_approx,anatom_site_general,lesion_id,capture_date,sex,split\n"
            "BCN_4.jpg,30.0,head/neck,BCN_L4,2014-05-16,female,test\n"
        ),
    },
    images=("BCN_20k_train/BCN_1.jpg", "BCN_20k_train/BCN_2.jpg", "BCN_20k_train/BCN_3.jpg", "BCN_20k_test/BCN_4.jpg"),
)


class Config(Frozen):
    """The 18,946 dermoscopic images of BCN20000; it names lesions, but no patients."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="BCN20000",
        licence="CC BY-NC 4.0",
        commercial=False,
        citation="Hernández-Pérez et al.: BCN20000: Dermoscopic Lesions in the Wild, Sci Data 11:641 (2024)",
        home="Hospital Clínic de Barcelona; doi:10.6084/m9.figshare.24140028",
        note="The terms that the ISIC Archive states for these images.",
    )

    kind: Literal["bcn20000"] = "bcn20000"
    path: Path = Field(description=f"the folder with {TABLES[0]}, {TABLES[1]} or both, and the images")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    format: TableFormat = TableFormat()

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row of the tables."""
        files = [file for name in TABLES if (file := find_table(self.path / name)).is_file()]
        if not files:
            raise DataError(f"dataset.path = {self.path}: neither {TABLES[0]} nor {TABLES[1]} is there; put them there")
        table = pd.concat([self._table(file, report) for file in files], ignore_index=True)
        names = [PurePosixPath(name).stem for name in table["image_id"].fillna("")]
        paths = locate(names, find_images(self.path, self.images), "images/{}.jpg", report)
        return conform(translate(table).assign(image_id=names, path=paths, source="bcn20000"), str(self.path), report)

    def _table(self, file: Path, report: ReadReport) -> pd.DataFrame:
        labelled = ["diagnosis"] if file == find_table(self.path / TABLES[0]) else []
        columns = [*COLUMNS, *labelled]
        table = read_table(file, columns, report, form=self.format, optional=["diagnosis"], root=self.path)
        return table.rename(columns=COLUMNS)


def recognise(look: FirstLook) -> Recognition | None:
    """By its table."""
    table = look.published_table(TABLES, COLUMNS)
    return Recognition(Certainty.PUBLISHED, f"{table} is that of BCN20000") if table else None
