"""The embedded SYNTHETIC data set: metadata.csv and images/, as the stage synthesize writes them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.data.adapters import ExampleData
from components.data.first_look import FirstLook, Recognition
from components.data.path_column import resolve_paths
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.tables import find_table, read_table

COLUMNS = (
    "image_id", "path", "diagnosis", "lesion_id", "patient_id", "age", "sex", "site", "skin_type",
)  # fmt: skip

EXAMPLE = ExampleData(
    texts={
        "metadata.csv": (
            "image_id,path,diagnosis,lesion_id,patient_id,age,sex,site,skin_type\n"
            "a,images/a.png,nv,L1,P1,45,female,back,2\n"
            "b,images/b.png,mel,L2,P2,70,male,abdomen,3\n"
        )
    },
    images=("images/a.png", "images/b.png"),
)


class Config(Frozen):
    """Drawings of components/synthetic/lesions.py, for tests and the demo; no evidence about patients."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="Dermflow's drawings",
        licence="Apache-2.0",
        commercial=True,
        citation="components/synthetic/lesions.py of Dermflow",
        home="drawn by the stage synthesize",
        note="Drawings, not patients.",
    )

    kind: Literal["synthetic"] = "synthetic"
    path: Path = Field(description="the folder that synthesize writes: paths.synthetic")

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row an image."""
        file = find_table(self.path / "metadata.csv")
        if not file.is_file():
            raise DataError(
                f"dataset.path = {self.path}: {file} is missing; set dataset.path to paths.synthetic and "
                "synthesize.lesions above 0 (params.yaml), then run `dvc repro synthesize`"
            )
        table = read_table(file, COLUMNS, report, root=self.path)
        paths = resolve_paths(table["path"].fillna(""), self.path, report)
        return conform(table.assign(path=paths, source="SYNTHETIC"), str(file), report)


def recognise(look: FirstLook) -> Recognition | None:  # noqa: ARG001  # as of every adapter
    """Never: the demo names its folder itself, and a table of patients may have the same columns."""
    return None
