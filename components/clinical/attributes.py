"""Attributes of the test images that define subgroups: sex, age, body site, skin type, source, thirds of measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.data.vocabulary import is_site

Array = npt.NDArray[Any]

UNKNOWN = "unknown"
THIRDS = {
    "sharpness": ("blurred", "medium", "sharp"),
    "luma": ("dark", "medium", "bright"),
    "lesion_share": ("small", "medium", "large"),
}
"""Columns of `facts` that are cut into thirds, and the names of the thirds."""

NAMES = {"luma": "brightness", "lesion_share": "lesion size", "skin_type": "skin type", "age": "age"}
"""Names of attributes whose column name is not clear."""


def describe(names: Sequence[str], accepted: pd.DataFrame, facts: pd.DataFrame, ages: Sequence[int]) -> pd.DataFrame:
    """One row an image, one column an attribute; missing values are `unknown`.

    Attributes with fewer than two known values are left out.

    Args:
        names: image ids, in the order of the rows.
        accepted: rows of the accepted images, with image_id and what is known of patients and sites.
        facts: measures of the images, with image_id.
        ages: edges of the age bands, years.
    """
    rows = accepted.set_index("image_id").reindex(list(names))
    measured = facts.drop_duplicates("image_id").set_index("image_id").reindex(list(names))
    table = pd.DataFrame({name: _texts(rows, name) for name in ("sex", "site", "skin_type", "source")})
    table.insert(1, "age", age_bands(rows.get("age"), ages, len(rows)))
    for name, words in THIRDS.items():
        table[name] = thirds(measured[name], words) if name in measured else UNKNOWN
    useful = [name for name in table if len(set(table[name]) - {UNKNOWN}) > 1]
    return table[useful].rename(columns=NAMES).reset_index(drop=True)


def _texts(rows: pd.DataFrame, name: str) -> Array:
    """A column as text, `unknown` where it is missing."""
    if name not in rows:
        return np.full(len(rows), UNKNOWN)
    column = rows[name].astype("object")
    if name == "site":  # a free text may name a person, and the page is given to others
        known = column.isna() | column.eq(UNKNOWN) | column.map(lambda word: is_site(str(word)))
        column = column.where(known, "other")
    return np.array([UNKNOWN if pd.isna(value) or value == "" else str(value) for value in column])


def age_bands(ages: pd.Series[Any] | None, edges: Sequence[int], count: int) -> Array:
    """(N,) `under 40`, `40 to 59`, `60 and over` from the edges 40 and 60; `count` is N where no age is known."""
    if ages is None:
        return np.full(count, UNKNOWN)
    inner = [f"{low} to {high - 1}" for low, high in pairwise(edges)]
    words = np.array([f"under {edges[0]}", *inner, f"{edges[-1]} and over"])
    years = ages.to_numpy("float64", na_value=np.nan)
    return np.where(np.isnan(years), UNKNOWN, words[np.searchsorted(edges, years.round(), side="right") % len(words)])


def thirds(values: pd.Series[Any], words: Sequence[str]) -> Array:
    """(N,) the name of each value's third, lowest first, among the known values; `unknown` for the others."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy("float64", na_value=np.nan)
    known = np.isfinite(numbers)
    if not known.any():
        return np.full(len(numbers), UNKNOWN)
    cuts = np.quantile(numbers[known], [1 / 3, 2 / 3])
    places = np.searchsorted(cuts, np.where(known, numbers, 0.0), side="left")
    return np.asarray(np.where(known, np.array(words)[places], UNKNOWN))


def hidden_sizes(groups: Mapping[str, int], least: int) -> set[str]:
    """Values of one attribute whose number of lesions is not shown.

    Those of fewer than `least`; a single one also hides the next smallest, else the total would reveal its size.
    `unknown` is always counted, since it is no group of people.

    Args:
        groups: lesions or patients by value.
        least: lesions below which a value shows no number.
    """
    named = {value: count for value, count in groups.items() if value != UNKNOWN}
    few = {value for value, count in named.items() if count < least}
    return set(sorted(named, key=named.__getitem__)[:2]) if len(few) == 1 else few
