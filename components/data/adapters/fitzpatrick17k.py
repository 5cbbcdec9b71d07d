"""Fitzpatrick17k: fitzpatrick17k.csv next to the images, each named MD5HASH.jpg.

The images come from two atlases; the table names no patients, lesions or sites, so only near-duplicates show which
images belong together. Rows that its authors doubt (column qc, 504 of them, 17 as wrongly labelled) are kept.
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

TABLE = "fitzpatrick17k.csv"

EXAMPLE = ExampleData(
    texts={
        TABLE: (
            "md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,three_partition_label,qc\n"
            "0a,3,3,psoriasis,inflammatory,non-neoplastic,\n"
            "0b,-1,6,mycosis fungoides,x,malignant,3 Wrongly labelled\n"
        )
    },
    images=("images/0a.jpg", "images/0b.jpg"),
)


class Config(Frozen):
    """The 16,577 clinical images of Fitzpatrick17k; the skin type of 565 is not known."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="Fitzpatrick17k",
        licence="CC BY-NC-SA 3.0",
        commercial=False,
        citation="Groh et al.: Evaluating deep neural networks trained on clinical images in dermatology with the "
        "Fitzpatrick 17k dataset, CVPR workshops (2021)",
        home="github.com/mattgroh/fitzpatrick17k",
        note="The images themselves come from two atlases, Atlas Dermatologico and DermaAmin, whose terms hold too.",
    )

    kind: Literal["fitzpatrick17k"] = "fitzpatrick17k"
    path: Path = Field(description=f"the folder with {TABLE} and the images")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    format: TableFormat = TableFormat()
    label: Literal["label", "nine_partition_label", "three_partition_label"] = Field(
        default="label", description="the column of the diagnosis: of 114, 9 or 3 values"
    )
    skin_type: Literal["fitzpatrick_scale", "fitzpatrick_centaur", "fitzpatrick"] = Field(
        default="fitzpatrick_scale",
        description="the column of the skin type; fitzpatrick: the table's first edition",
    )

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row of the table."""
        file = find_table(self.path / TABLE)
        if not file.is_file():
            raise DataError(
                f"dataset.path = {self.path}: {file} is missing; put {TABLE} there, and the images into "
                f"{self.path / 'images'}"
            )
        columns = {"md5hash": "image_id", self.label: "diagnosis", self.skin_type: "skin_type"}
        table = translate(
            read_table(file, list(columns), report, form=self.format, root=self.path).rename(columns=columns)
        )
        found = find_images(self.path, self.images)
        paths = locate(table["image_id"].fillna(""), found, "images/{}.jpg", report)
        return conform(table.assign(path=paths, source="fitzpatrick17k"), str(file), report)


def recognise(look: FirstLook) -> Recognition | None:
    """By its table; of the three columns of diagnoses that with three values, as 114 are too many for a first study."""
    table = look.published_table((TABLE,), ("md5hash", "label", "three_partition_label"))
    if table is None:
        return None
    note = "dataset.label: three_partition_label has 3 values; nine_partition_label has 9, label 114"
    settings = {"label": "three_partition_label"}
    return Recognition(Certainty.PUBLISHED, f"{table} is that of Fitzpatrick17k", settings, (note,))
