"""PAD-UFES-20: metadata.csv next to smartphone PNGs, in images/imgs_part_1 to 3, flat, or in tars.

`lesion_id` alone does not identify a lesion: 250 of its 1,641 values belong to two patients each, 226 of them with two
diagnoses. Here a lesion is patient and lesion together, as in the images' names: there are 1,891, each with one
diagnosis.
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
from components.data.ids import normalise_ids
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.sources import find_images, locate
from components.data.tables import TableFormat, find_table, read_table
from components.data.vocabulary import translate

TABLES = ("metadata.csv", "PAD-UFES-20_metadata.csv")
COLUMNS = {
    "img_id": "image_id",
    "diagnostic": "diagnosis",  # ACK, BCC, MEL, NEV, SCC, SEK
    "patient_id": "patient_id",
    "lesion_id": "lesion_id",
    "age": "age",
    "gender": "sex",
    "region": "site",
    "fitspatrick": "skin_type",  # the table's spelling
}

OPTIONAL = {"biopsed": "confirmation"}  # True: histology; False: by dermatologists

EXAMPLE = ExampleData(
    texts={
        TABLES[0]: (
            "patient_id,lesion_id,smoke,age,gender,fitspatrick,region,diagnostic,img_id\n"
            "PAT_1,7,,8,,,ARM,NEV,PAT_1_7_5.png\n"
            "PAT_2,7,False,55,FEMALE,3.0,NOSE,BCC,PAT_2_7_9.png\n"
        )
    },
    images=("images/imgs_part_1/PAT_1_7_5.png", "images/imgs_part_3/PAT_2_7_9.png"),
)


class Config(Frozen):
    """The 2,298 clinical images of PAD-UFES-20; sex and skin type of 804 are not known."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="PAD-UFES-20",
        licence="CC BY 4.0",
        commercial=True,
        citation="Pacheco et al.: PAD-UFES-20, Data in Brief 32:106221 (2020)",
        home="Federal University of Espírito Santo; doi:10.17632/zr7vgbcyr2",
    )

    kind: Literal["pad_ufes"] = "pad_ufes"
    path: Path = Field(description=f"the folder with {TABLES[0]} and images/")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    format: TableFormat = TableFormat()

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row of the metadata."""
        file = self._table()
        table = read_table(file, list(COLUMNS), report, form=self.format, optional=list(OPTIONAL), root=self.path)
        table = table.rename(columns={**COLUMNS, **OPTIONAL})
        table = normalise_ids(table, report)
        lesions = table["patient_id"] + "_" + table["lesion_id"]  # missing where one of the two is
        names = [PurePosixPath(name).stem for name in table["image_id"].fillna("")]
        paths = locate(names, find_images(self.path, self.images), "images/{}.png", report)
        table = translate(table).assign(image_id=names, lesion_id=lesions, path=paths, source="pad_ufes")
        return conform(table, str(file), report)

    def _table(self) -> Path:
        for name in TABLES:
            if (file := find_table(self.path / name)).is_file():
                return file
        raise DataError(
            f"dataset.path = {self.path}: {self.path / TABLES[0]} is missing; put it there (or {TABLES[1]}), "
            f"and the PNGs into {self.path / 'images'}"
        )


def recognise(look: FirstLook) -> Recognition | None:
    """By its table."""
    table = look.published_table(TABLES, COLUMNS)
    return Recognition(Certainty.PUBLISHED, f"{table} is that of PAD-UFES-20") if table else None
