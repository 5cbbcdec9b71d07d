"""The embedded SYNTHETIC data set: metadata.csv and images/, as drawn by the stage synthesize."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.data.records import conform, read_columns

COLUMNS = (
    "image_id", "path", "diagnosis", "lesion_id", "patient_id", "age", "sex", "site", "skin_type",
)  # fmt: skip


class Config(Frozen):
    """Drawings of components/synthetic/lesions.py; good for tests and the demo, and for no medical statement."""

    published: ClassVar[bool] = True

    kind: Literal["synthetic"] = "synthetic"
    path: Path = Field(description="the folder that synthesize writes: paths.synthetic")

    def read(self) -> pd.DataFrame:
        """One row an image; raises DataError where the drawings are missing."""
        file = self.path / "metadata.csv"
        if not file.is_file():
            raise DataError(
                f"dataset.path = {self.path}: {file} is missing; set dataset.path to paths.synthetic and "
                "synthesize.lesions above 0 (params.yaml), then run `dvc repro synthesize`"
            )
        return conform(read_columns(file, COLUMNS).assign(source="SYNTHETIC"), str(file))
