"""HAM10000: HAM10000_metadata.csv beside its JPEGs, in images/, as unpacked from the two archives, or in tars.

Tschandl, Rosendahl, Kittler: The HAM10000 dataset, Sci Data 5:180161 (2018), CC BY-NC 4.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.data.records import conform, read_columns
from components.data.sources import find_images, locate
from components.data.vocabulary import translate

METADATA = "HAM10000_metadata.csv"
FOLDERS = ("images", "HAM10000_images_part_1", "HAM10000_images_part_2")  # copies elsewhere are not read
COLUMNS = {
    "image_id": "image_id",
    "dx": "diagnosis",  # akiec, bcc, bkl, df, mel, nv, vasc
    "lesion_id": "lesion_id",
    "age": "age",
    "sex": "sex",
    "localization": "site",
}


class Config(Frozen):
    """The 10,015 dermoscopic images of HAM10000; it names lesions, and no patients."""

    published: ClassVar[bool] = True

    kind: Literal["ham10000"] = "ham10000"
    path: Path = Field(description=f"the folder with {METADATA} and images/")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")

    def read(self) -> pd.DataFrame:
        """One row a row of the metadata; raises DataError naming what to put where."""
        file = self.path / METADATA
        if not file.is_file():
            raise DataError(
                f"dataset.path = {self.path}: {file} is missing; put {METADATA} there, and the JPEGs into "
                f"{self.path / FOLDERS[0]}"
            )
        table = read_columns(file, list(COLUMNS)).rename(columns=COLUMNS)
        found = find_images(self.path, self.images, FOLDERS)
        paths = locate(table["image_id"].fillna(""), found, "images/{}.jpg")
        return conform(translate(table).assign(path=paths, source="ham10000"), str(file))
