"""Derm7pt: meta/meta.csv and images/, a dermoscopic and a clinical image of each case.

A case is a lesion; patients are not named.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.base.normal_form import clean_path
from components.data.adapters import ExampleData
from components.data.first_look import Certainty, FirstLook, Recognition
from components.data.ids import normalise_ids
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.sources import find_images, locate
from components.data.tables import TableFormat, find_table, read_table
from components.data.vocabulary import translate

TABLE = "meta/meta.csv"
COLUMNS = {"case_num": "lesion_id", "diagnosis": "diagnosis", "sex": "sex", "location": "site"}

EXAMPLE = ExampleData(
    texts={
        TABLE: (
            "case_num,diagnosis,seven_point_score,elevation,location,sex,management,clinic,derm,case_id,notes\n"
            "1,basal cell carcinoma,0,flat,back,female,excision,NEL/NEL026.jpg,NEL/Nel025.jpg,,\n"
            "2,melanoma (in situ),4,flat,head neck,male,excision,Fbl/Fbl1.jpg,Fbl/Fbl2.jpg,x,y\n"
        )
    },
    # file names differ from the table in upper and lower case, as in the published data set
    images=("images/NEL/NEL026.jpg", "images/NEL/NEL025.jpg", "images/FBL/Fbl1.jpg", "images/FBL/Fbl2.JPG"),
)


class Config(Frozen):
    """One of the two images of each of the 1,011 cases of Derm7pt."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="Derm7pt",
        licence=None,
        commercial=None,
        citation="Kawahara, Daneshvar, Argenziano, Hamarneh: Seven-point checklist and skin lesion classification "
        "using multitask multimodal neural nets, IEEE J Biomed Health Inform 23:538-546 (2019)",
        home="Simon Fraser University; derm.cs.sfu.ca",
        note="Its code's repository names no licence; the terms are stated where the data are requested.",
    )

    kind: Literal["derm7pt"] = "derm7pt"
    path: Path = Field(description="the folder release_v0, with meta/ and images/")
    image: Literal["derm", "clinic"] = Field(default="derm", description="derm: dermoscopic; clinic: clinical")
    format: TableFormat = TableFormat()

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a case, with the id case_NUMBER_derm or case_NUMBER_clinic."""
        file = find_table(self.path / TABLE)
        if not file.is_file():
            raise DataError(
                f"dataset.path = {self.path}: {file} is missing; name the folder that holds meta/ and images/ "
                "(release_v0) in params.yaml"
            )
        table = read_table(file, [*COLUMNS, self.image], report, form=self.format, root=self.path)
        table = normalise_ids(table.rename(columns={**COLUMNS, self.image: "path"}), report)
        lesions = "case_" + table["lesion_id"]
        paths = _located(table["path"].fillna(""), find_images(self.path), report)
        table = translate(table).assign(image_id=lesions + f"_{self.image}", lesion_id=lesions, path=paths)
        return conform(table.assign(source="derm7pt"), str(file), report)


def recognise(look: FirstLook) -> Recognition | None:
    """By its table."""
    table = look.published_table((TABLE,), (*COLUMNS, "derm", "clinic"))
    return Recognition(Certainty.PUBLISHED, f"{table} is that of Derm7pt") if table else None


def _located(names: pd.Series, found: Mapping[str, list[str]], report: ReadReport) -> list[str]:
    """Paths of names such as `NEL/Nel025.jpg`, which lie below images/, elsewhere or in a tar."""
    places: dict[str, list[str]] = {}
    for path in sorted(path for paths in found.values() for path in paths):
        places.setdefault(_last_two(path), []).append(path)
    places = {name: [path for path in paths if path.startswith("images/")] or paths for name, paths in places.items()}
    paths = locate([_last_two(name) for name in names], places, "images/{}", report)
    return [path if name else "" for name, path in zip(names, paths, strict=True)]


def _last_two(path: str) -> str:
    return "/".join(PurePosixPath(clean_path(path)).parts[-2:])
