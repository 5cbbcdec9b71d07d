"""MRA-MIDAS: release_midas.xlsx (or .csv) next to clinical and dermoscopic images, most of them proven by biopsy.

Chiou et al.: Multimodal Image Dataset for AI-based Skin Cancer (MIDAS) Benchmarking, NEJM AI 2 (2025). A lesion is
shown by dermoscopy and by photographs from two distances. `midas_record_id` groups the images of a person's visit; a
lesion is record and location together. Some files have another suffix than the table says, so that files are found by
their names without suffix.
"""

from __future__ import annotations

import re
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

TABLES = ("release_midas.xlsx", "release_midas.csv")
COLUMNS = {
    "midas_record_id": "patient_id",
    "midas_file_name": "file",
    "midas_path": "diagnosis",
    "midas_distance": "distance",
    "midas_age": "age",
    "midas_gender": "sex",
    "midas_location": "site",
    "midas_fitzpatrick": "skin_type",
}
DISTANCES = {"dermoscopic": ("dscope",), "clinical": ("6in", "1ft", "n/a - virtual"), "all": ()}

EXAMPLE = ExampleData(
    texts={
        TABLES[1]: (
            ",midas_record_id,midas_file_name,midas_iscontrol,midas_distance,midas_location,midas_path,midas_pathreport,"
            "midas_gender,midas_age,midas_fitzpatrick,midas_melanoma\n"
            "0,1,s-prd-1.jpg,no,dscope,l abdomen,malignant- bcc,x,female,61,ii white skin,no\n"
            "1,1,s-prd-2.jpeg,no,6in,l abdomen,malignant- bcc,x,female,61,ii white skin,no\n"
            "2,2,s-prd-3.jpg,yes,dscope,r back,,,male,40,v brown skin,\n"
        )
    },
    images=("s-prd-1.jpg", "s-prd-2.jpg", "s-prd-3.jpg"),
    settings={"image": "all"},
)


class Config(Frozen):
    """The images of MRA-MIDAS; controls (lesions without biopsy) have no diagnosis and are unlabelled."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="MRA-MIDAS",
        licence="Stanford AIMI's research use agreement",
        commercial=False,
        citation="Chiou et al.: Multimodal Image Dataset for AI-based Skin Cancer (MIDAS) Benchmarking, NEJM AI 2 "
        "(2025)",
        home="Stanford AIMI; doi:10.71718/15nz-jv40",
        note="Non-commercial research by registered persons; the images may not be passed on.",
    )

    kind: Literal["mra_midas"] = "mra_midas"
    path: Path = Field(description=f"the folder with {TABLES[0]} (or .csv) and the images")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    format: TableFormat = TableFormat()
    image: Literal["dermoscopic", "clinical", "all"] = Field(
        default="dermoscopic", description="which images are read; clinical: photographs from all distances"
    )

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row an image of the chosen kind."""
        file = next((file for name in TABLES if (file := find_table(self.path / name)).is_file()), None)
        if file is None:
            raise DataError(f"dataset.path = {self.path}: {TABLES[0]} is missing; put it there, and the images")
        table = read_table(file, list(COLUMNS), report, form=self.format, root=self.path).rename(columns=COLUMNS)
        table = normalise_ids(self._chosen(table, report), report)
        names = [PurePosixPath(name).stem for name in table["file"].fillna("")]
        lesions = table["patient_id"] + "_" + table["site"].fillna("")
        plain = table.assign(
            site=table["site"].str.replace(r"^(l|r|left|right)\.?\s+", "", regex=True, flags=re.IGNORECASE),
            skin_type=table["skin_type"].str.split().str[0],
        )
        paths = locate(names, find_images(self.path, self.images), "{}.jpg", report)
        rows = translate(plain).assign(image_id=names, lesion_id=lesions, path=paths, source="mra_midas")
        return conform(rows.drop(columns=["file", "distance"]), str(file), report)

    def _chosen(self, table: pd.DataFrame, report: ReadReport) -> pd.DataFrame:
        """The rows of `image`; the others are counted."""
        wanted = DISTANCES[self.image]
        if not wanted:
            return table
        chosen = table["distance"].fillna("").str.lower().isin(wanted)
        left_out = int((~chosen).sum())
        if left_out:
            report.warn(
                "rows_left_out", left_out, f"{left_out} rows are left out, since dataset.image is {self.image!r}"
            )
        return table[chosen].reset_index(drop=True)


def recognise(look: FirstLook) -> Recognition | None:
    """By its table."""
    table = look.published_table(TABLES, COLUMNS)
    if table is None:
        return None
    note = "dataset.image: dermoscopic, one way to take a picture; clinical are the photographs"
    return Recognition(Certainty.PUBLISHED, f"{table} is that of MRA-MIDAS", {"image": "dermoscopic"}, (note,))
