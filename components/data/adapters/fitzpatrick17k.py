"""Fitzpatrick17k: fitzpatrick17k.csv beside the images, each named MD5HASH.jpg.

Groh et al.: Evaluating deep neural networks trained on clinical images in dermatology with the Fitzpatrick 17k
dataset, CVPR workshops (2021), CC BY-NC-SA 3.0. The images come from two atlases; the table names neither
patients nor lesions nor sites, so near-duplicates are all that tells which images belong together. Rows that its
authors doubt (column qc, 504 of them, 17 as wrongly labelled) are kept like all others.
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

TABLE = "fitzpatrick17k.csv"


class Config(Frozen):
    """The 16,577 clinical images of Fitzpatrick17k; the skin type is open for 565 of them."""

    published: ClassVar[bool] = True

    kind: Literal["fitzpatrick17k"] = "fitzpatrick17k"
    path: Path = Field(description=f"the folder with {TABLE} and the images")
    images: str = Field(default="", description="subfolder or tar below path with the images; empty: anywhere")
    label: Literal["label", "nine_partition_label", "three_partition_label"] = Field(
        default="label", description="the column of the diagnosis: 114, 9 or 3 words"
    )
    skin_type: Literal["fitzpatrick_scale", "fitzpatrick_centaur", "fitzpatrick"] = Field(
        default="fitzpatrick_scale",
        description="the column of the skin type; fitzpatrick: the table's first edition",
    )

    def read(self) -> pd.DataFrame:
        """One row a row of the table; raises DataError naming what to put where."""
        file = self.path / TABLE
        if not file.is_file():
            raise DataError(
                f"dataset.path = {self.path}: {file} is missing; put {TABLE} there, and the images into "
                f"{self.path / 'images'}"
            )
        columns = {"md5hash": "image_id", self.label: "diagnosis", self.skin_type: "skin_type"}
        table = translate(read_columns(file, list(columns)).rename(columns=columns))
        found = find_images(self.path, self.images)
        paths = locate(table["image_id"].fillna(""), found, "images/{}.jpg")
        return conform(table.assign(path=paths, source="fitzpatrick17k"), str(file))
