"""PAD-UFES-20: metadata.csv beside smartphone PNGs, in images/imgs_part_1 to 3, flat, or in tars.

Pacheco et al.: PAD-UFES-20: a skin lesion dataset composed of patient data and clinical images collected from
smartphones, Data in Brief 32:106221 (2020), CC BY 4.0.

`lesion_id` alone names no lesion: 250 of its 1,641 values stand at two patients each, 226 of them with two
diagnoses. A lesion is therefore patient and lesion together, as in the images' names: 1,891 of them, and
each has one diagnosis.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.data.records import conform, read_columns
from components.data.sources import find_images, locate
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
    "fitspatrick": "skin_type",  # so spelt
}


class Config(Frozen):
    """The 2,298 clinical images of PAD-UFES-20; sex and skin type are open for 804 of them."""

    published: ClassVar[bool] = True

    kind: Literal["pad_ufes"] = "pad_ufes"
    path: Path = Field(description=f"the folder with {TABLES[0]} and images/")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")

    def read(self) -> pd.DataFrame:
        """One row a row of the metadata; raises DataError naming what to put where."""
        file = self._table()
        table = read_columns(file, list(COLUMNS)).rename(columns=COLUMNS)
        lesions = table["patient_id"] + "_" + table["lesion_id"]  # nothing where one of them is open
        names = [PurePosixPath(name).stem for name in table["image_id"].fillna("")]
        paths = locate(names, find_images(self.path, self.images), "images/{}.png")
        table = translate(table).assign(image_id=names, lesion_id=lesions, path=paths, source="pad_ufes")
        return conform(table, str(file))

    def _table(self) -> Path:
        for name in TABLES:
            if (self.path / name).is_file():
                return self.path / name
        raise DataError(
            f"dataset.path = {self.path}: {self.path / TABLES[0]} is missing; put it there ({TABLES[1]} is taken, "
            f"too), and the PNGs into {self.path / 'images'}"
        )
