"""Images in rows and columns, each row with its name: reconstructions, samples, traversals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from components.report.figures import INK

GAP = 2
"""Pixels of white between images."""

INCHES = 0.8
"""The side of one image on paper."""


def draw(images: np.ndarray[Any, np.dtype[np.floating[Any]]], rows: Sequence[str], title: str) -> Figure:
    """A figure of images (R, C, S, S, 3) RGB in [0, 1]; `rows` names the R rows, with "" for none."""
    count, columns, side = images.shape[:3]
    if len(rows) != count:
        raise ValueError(f"{len(rows)} names for {count} rows of images")
    figure = Figure(figsize=(INCHES * columns + 1, INCHES * count + 0.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(_mosaic(images), interpolation="nearest")
    axes.set_title(title, fontsize="medium")
    axes.set_xticks([])
    axes.set_yticks([row * (side + GAP) + side / 2 for row in range(count)], rows)
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    return figure


def _mosaic(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(R, C, S, S, 3) to one picture (R (S + GAP) - GAP, C (S + GAP) - GAP, 3) with white between."""
    between = ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0))
    padded = np.pad(images.clip(0, 1), between, constant_values=1.0)
    count, columns, side = padded.shape[:3]
    whole = padded.transpose(0, 2, 1, 3, 4).reshape(count * side, columns * side, 3)
    return whole[:-GAP, :-GAP]
