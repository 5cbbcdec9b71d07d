"""Measures of image quality: their names, units and scales, shared by all figures and comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class QualityMeasure:
    """One column of ImageFacts."""

    name: str
    title: str
    meaning: str  # of low and high values
    low: float
    high: float | None  # of the axis; None: the highest value
    least: float  # difference on its scale below which images look the same
    logarithmic: bool = False

    def values(self, table: pd.DataFrame) -> Values:
        """Its known values in `table` (N,), as measured; empty where the column is missing."""
        column = pd.to_numeric(table.get(self.name, pd.Series(dtype="float64")), errors="coerce")
        return column.dropna().to_numpy("float64")

    def scaled(self, values: Values) -> Values:
        """On a scale of perceived differences: log10 for sharpness, linear for the others."""
        return np.log10(np.maximum(values, self.low)) if self.logarithmic else values


MEASURES = (
    QualityMeasure("luma", "Brightness", "mean luma: 0 is black, 255 is white", 0, 255, 2.5),
    QualityMeasure("sharpness", "Sharpness", "variance of the Laplacian: low is blurred or empty", 1, None, 0.05, True),
    QualityMeasure("saturation", "Saturation", "mean: 0 is grey, 1 is pure colour", 0, 1, 0.01),
    QualityMeasure("vignette", "Vignette", "share of the image that is black border", 0, None, 0.02),
)


def format_value(value: float) -> str:
    """A value of any measure with its significant digits: `4,376`, `42.5`, `0.07`."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{round(value, 1 if abs(value) >= 1 else 2):g}"
