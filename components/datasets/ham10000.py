"""HAM10000: HAM10000_metadata.csv beside its JPEGs, in images/ or as unpacked from the two archives.

Tschandl, Rosendahl, Kittler: The HAM10000 dataset, Sci Data 5:180161 (2018), CC BY-NC 4.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from components.config import Frozen
from components.errors import DataError
from components.records import conform, read_columns

METADATA = "HAM10000_metadata.csv"
FOLDERS = ("images", "HAM10000_images_part_1", "HAM10000_images_part_2", ".")
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

    kind: Literal["ham10000"] = "ham10000"
    path: Path = Field(description=f"the folder with {METADATA} and images/")

    def read(self) -> pd.DataFrame:
        """One row a row of the metadata; raises DataError naming what to put where."""
        file = self.path / METADATA
        if not file.is_file():
            raise DataError(
                f"dataset.path = {self.path}: {file} is missing; put {METADATA} there, and the JPEGs into "
                f"{self.path / FOLDERS[0]}"
            )
        table = read_columns(file, list(COLUMNS)).rename(columns=COLUMNS)
        places = _places(self.path)
        paths = [places.get(name, f"{FOLDERS[0]}/{name}.jpg") for name in table["image_id"].fillna("")]
        return conform(table.assign(path=paths, source="ham10000"), str(file))


def _places(root: Path) -> dict[str, str]:
    """Image id -> path below the root, for the JPEGs in the known folders."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for file in sorted((root / folder).glob("*.jpg")):
            found.setdefault(file.stem, file.relative_to(root).as_posix())
    if not found:
        raise DataError(
            f"dataset.path = {root}: no .jpg in {', '.join(FOLDERS)}; put the images into {root / FOLDERS[0]}"
        )
    return found
