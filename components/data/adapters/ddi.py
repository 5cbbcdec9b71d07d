"""DDI: ddi_metadata.csv next to the 656 clinical images of Diverse Dermatology Images, all proven by biopsy.

Daneshjou et al.: Disparities in dermatology AI performance on a diverse, curated clinical image set, Sci Adv 8:eabq6147
(2022). `skin_tone` is a pair of Fitzpatrick types (12, 34, 56). The common table holds single types only, so that
skin_type stays unknown, and the pair is a part of `source` (`ddi skin types V-VI`), by which results are reported, too.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.base.normal_form import clean_id
from components.data.adapters import ExampleData
from components.data.first_look import Certainty, FirstLook, Recognition
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.sources import find_images, locate
from components.data.tables import TableFormat, find_table, read_table
from components.data.vocabulary import translate

TABLE = "ddi_metadata.csv"
SKIN_TONES = {"12": "I-II", "34": "III-IV", "56": "V-VI"}
MALIGNANT = {"true": "malignant", "false": "benign", "1": "malignant", "0": "benign"}

EXAMPLE = ExampleData(
    texts={
        TABLE: (
            ",DDI_ID,DDI_file,skin_tone,malignant,disease\n"
            "0,1,000001.png,56,True,melanoma-in-situ\n"
            "1,2,000002.png,12,False,seborrheic-keratosis\n"
        )
    },
    images=("images/000001.png", "images/000002.png"),
)


class Config(Frozen):
    """The images of DDI; the table names neither patients nor lesions, ages, sexes or sites."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="Diverse Dermatology Images (DDI)",
        licence="Stanford's research use agreement for DDI",
        commercial=False,
        citation="Daneshjou et al.: Disparities in dermatology AI performance on a diverse, curated clinical image "
        "set, Sci Adv 8:eabq6147 (2022)",
        home="Stanford AIMI; ddi-dataset.github.io",
        note="Non-commercial research by registered persons; the images may not be passed on.",
    )

    kind: Literal["ddi"] = "ddi"
    path: Path = Field(description=f"the folder with {TABLE} and the images")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    format: TableFormat = TableFormat()
    label: Literal["disease", "malignant"] = Field(
        default="disease", description="the column of the diagnosis; malignant: malignant or benign"
    )

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row of the table."""
        file = find_table(self.path / TABLE)
        if not file.is_file():
            raise DataError(f"dataset.path = {self.path}: {file} is missing; put {TABLE} there, and the images")
        table = read_table(
            file, ["DDI_file", "skin_tone", self.label], report, form=self.format, root=self.path
        ).rename(columns={self.label: "diagnosis"})
        if self.label == "malignant":
            table["diagnosis"] = table["diagnosis"].str.lower().map(MALIGNANT)
        names = [PurePosixPath(name).stem for name in table["DDI_file"].fillna("")]
        pairs = table["skin_tone"].map(clean_id, na_action="ignore").map(SKIN_TONES)
        unknown = int(pairs.isna().sum())
        if unknown:
            report.warn("skin_tones", unknown, f"{TABLE}: skin_tone of {unknown} rows is none of {list(SKIN_TONES)}")
        paths = locate(names, find_images(self.path, self.images), "images/{}.png", report)
        rows = pd.DataFrame({"image_id": names, "path": paths, "diagnosis": table["diagnosis"]})
        source = ("ddi skin types " + pairs).fillna("ddi")
        return conform(translate(rows).assign(source=source), str(file), report)


def recognise(look: FirstLook) -> Recognition | None:
    """By its table."""
    table = look.published_table((TABLE,), ("DDI_file", "skin_tone", "disease"))
    return Recognition(Certainty.PUBLISHED, f"{table} is that of DDI") if table else None
