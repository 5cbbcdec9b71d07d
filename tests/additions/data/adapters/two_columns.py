"""A table with two columns: images.csv, with the file and the diagnosis of each image.

Nothing is known of lesions and patients: each image counts as a lesion of its own, and near-duplicates alone show which
images belong together.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.data.adapters import OWN_IMAGES, ExampleData
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.tables import read_table
from components.data.vocabulary import translate

TABLE = "images.csv"

EXAMPLE = ExampleData(texts={TABLE: "file,diagnosis\na.jpg,melanoma\nb.jpg,nevus\n"}, images=("a.jpg", "b.jpg"))


class Config(Frozen):
    """Where the table is."""

    published: ClassVar[bool] = False
    licence: ClassVar[Licence] = OWN_IMAGES

    kind: Literal["two_columns"] = "two_columns"
    path: Path = Field(description=f"the folder with {TABLE} and the images")

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row of the table."""
        file = self.path / TABLE
        if not file.is_file():
            raise DataError(f"dataset.path = {self.path}: {file} is missing, expected columns file and diagnosis")
        table = translate(read_table(file, ["file", "diagnosis"], report, root=self.path))
        names = table.pop("file")
        table = table.assign(image_id=names.str.rsplit(".", n=1).str[0], path=names, source="own")
        return conform(table, str(file), report)
