"""What is measured of an image's quality: names, units and scales, the same in every figure and comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Measure:
    """One column of `scan.Facts`."""

    name: str
    title: str
    meaning: str  # what low and high look like
    low: float
    high: float | None  # of the axis; None: as far as the values go
    least: float  # a difference on its scale that nobody sees
    logarithmic: bool = False

    def values(self, table: pd.DataFrame) -> Values:
        """What is known of it in `table`, as measured; none where the column is missing."""
        column = pd.to_numeric(table.get(self.name, pd.Series(dtype="float64")), errors="coerce")
        return column.dropna().to_numpy("float64")

    def scaled(self, values: Values) -> Values:
        """On the scale on which differences are seen: sharpness doubles, the others add up."""
        return np.log10(np.maximum(values, self.low)) if self.logarithmic else values


MEASURES = (
    Measure("luma", "Brightness", "mean luma: 0 is black, 255 is white", 0, 255, 2.5),
    Measure("sharpness", "Sharpness", "variance of the Laplacian: low is blurred or empty", 1, None, 0.05, True),
    Measure("saturation", "Saturation", "mean: 0 is grey, 1 is pure colour", 0, 1, 0.01),
    Measure("vignette", "Vignette", "share of the picture that is black border", 0, None, 0.02),
)


def written(value: float) -> str:
    """A value of any measure with as many figures as mean something: `4,376`, `42.5`, `0.07`."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{round(value, 1 if abs(value) >= 1 else 2):g}"
