"""DermaMNIST: one npz of HAM10000 at 28, 64, 128 or 224 pixels, read in place, row by row.

Its official split is not used: images of one lesion are in several of its parts (Abhishek, Jain, Hamarneh:
Investigating the quality of DermaMNIST and Fitzpatrick17k dermatological image datasets, 2024). The file names no
lesions, so only the grouping of near-duplicates keeps images of a lesion together here; HAM10000 itself names them.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.data.adapters import ExampleData
from components.data.first_look import Certainty, FirstLook, Recognition
from components.data.npz_arrays import read_array
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.source_error import SourceError

PARTS = ("train", "val", "test")
SIZES = (28, 64, 128, 224)  # pixels
DIAGNOSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")  # HAM10000's names of the labels 0 to 6

EXAMPLE = ExampleData(
    arrays={
        "dermamnist.npz": {
            f"{part}_{what}": array
            for part, first in zip(PARTS, (0, 2, 4), strict=True)
            for what, array in {
                "images": np.arange(first, first + 2 * 28 * 28 * 3).astype(np.uint8).reshape(2, 28, 28, 3),
                "labels": np.array([[first], [first + 1]], np.uint8),
            }.items()
        }
    },
    settings={"size": 28},
)


class Config(Frozen):
    """The 10,015 images of DermaMNIST; the diagnosis is its only metadata."""

    published: ClassVar[bool] = True
    licence: ClassVar[Licence] = Licence(
        name="DermaMNIST",
        licence="CC BY-NC 4.0",
        commercial=False,
        citation="Yang et al.: MedMNIST v2, Sci Data 10:41 (2023); Tschandl, Rosendahl, Kittler: The HAM10000 "
        "dataset, Sci Data 5:180161 (2018)",
        home="medmnist.com; doi:10.5281/zenodo.10519652",
    )

    kind: Literal["dermamnist"] = "dermamnist"
    path: Path = Field(description="the folder with dermamnist.npz or dermamnist_SIZE.npz")
    size: Literal[28, 64, 128, 224] = Field(default=224, description="pixels; which of the files")

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row an image, with the id PART_INDEX at every size."""
        name = "dermamnist.npz" if self.size == 28 else f"dermamnist_{self.size}.npz"
        file = self.path / name
        if not file.is_file():
            raise DataError(
                f"dataset.path = {self.path}: {file} is missing; put {name} there, or set dataset.size (params.yaml) "
                f"to that of a file which is there"
            )
        table = pd.concat([_rows(part, labels, name) for part, labels in _labels(file).items()])
        return conform(table.assign(source="dermamnist"), str(file), report)


def recognise(look: FirstLook) -> Recognition | None:
    """By the name of its file; of several sizes the smallest."""
    names = {file.path.partition("/")[0] for file in look.files}
    sizes = {size: f"dermamnist{'' if size == 28 else f'_{size}'}.npz" for size in SIZES}
    found = [size for size, name in sizes.items() if name in names]
    if not found:
        return None
    return Recognition(Certainty.PUBLISHED, f"{sizes[found[0]]} is that of DermaMNIST", {"size": found[0]})


def _labels(file: Path) -> dict[str, np.ndarray]:
    """Part to labels, (N, 1) of 0 to 6; DataError for another file."""
    try:
        labels = {part: read_array(file, f"{part}_labels") for part in PARTS}
    except SourceError as error:
        raise DataError(f"{file}: {error}; is it DermaMNIST, and copied completely?") from error
    for part, values in labels.items():
        if values.ndim != 2 or values.shape[1] != 1 or not np.isin(values, range(len(DIAGNOSES))).all():
            raise DataError(
                f"{file}: {part}_labels has shape {values.shape} and values {np.unique(values)[:10].tolist()}; "
                f"expected (N, 1) and 0 to {len(DIAGNOSES) - 1}"
            )
    return labels


def _rows(part: str, labels: np.ndarray, name: str) -> pd.DataFrame:
    indices = range(len(labels))
    return pd.DataFrame(
        {
            "image_id": [f"{part}_{index:05d}" for index in indices],
            "path": [f"{name}/{part}_images/{index}.png" for index in indices],
            "diagnosis": [DIAGNOSES[int(label)] for label in labels[:, 0]],
        }
    )
