"""A bundle as a model of MLflow's flavour `python_function`, which calls `_load_pyfunc` with the bundle's folder.

This module travels with the model as source code. Nothing is pickled, and MLflow itself is not imported here.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.base.errors import DataError
from components.deployment.bundle import open_bundle
from components.deployment.predictor import Predictor

COLUMN = "image"
"""The one column of the input: the path of an image file, or the base64 of its bytes."""


@dataclass(frozen=True)
class ServedBundle:
    """What MLflow calls."""

    predictor: Predictor

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """The answers, a row an image, with the columns of `Predictor.predict`.

        Args:
            model_input: with the column `image`: the path of an image file, or the base64 of its bytes.
            params: there are none.

        Raises:
            DataError: names the first row whose image cannot be read; then no image is answered.
        """
        del params
        images = [self._read(row, text) for row, text in enumerate(model_input[COLUMN])]
        found = self.predictor.predict_batches(lambda rows: np.stack([images[row] for row in rows]), len(images))
        known = found["malignant"].notna()
        return found.assign(malignant=found["malignant"].astype(object).where(known, None))  # JSON has no pandas.NA

    def _read(self, row: int, text: str) -> Any:
        try:
            return self.predictor.read(read_image(text))
        except (OSError, ValueError) as error:  # an image that cannot be decoded is a ValueError, too
            raise DataError(
                f"row {row} of column {COLUMN!r}: is no image ({type(error).__name__}), expected the path of an image "
                "file, or the base64 of a complete image file; correct or leave out this row"
            ) from error


def read_image(text: str) -> bytes:
    """The bytes of an image from base64, else from the file of that path.

    Every path with a dot is told apart: a dot is no character of base64.

    Raises:
        OSError: where the text is no base64 and no file of this path can be read.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return Path(text).read_bytes()


def _load_pyfunc(path: str) -> ServedBundle:
    """The model of a bundle's folder, verified, on a GPU where there is one."""
    return ServedBundle(Predictor.open(open_bundle(Path(path))))
