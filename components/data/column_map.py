"""Settings that map columns of the common table to those of a data set, and cells of typed tables as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from components.data.records import Raw

COMMON = tuple(name for name in Raw.columns if name not in ("path", "label"))
"""Columns that a data set can state: paths are the adapter's, labels come from labels.schemes."""


def _are_common(columns: Mapping[str, str]) -> Mapping[str, str]:
    unknown = sorted(set(columns) - set(COMMON))
    if unknown:
        raise ValueError(f"names {unknown}, expected some of {list(COMMON)}")
    return columns


ColumnMap = Annotated[Mapping[str, str], AfterValidator(_are_common)]
"""Column of the common table: name that the data set has for it."""


def as_text(value: Any) -> str | None:
    """A cell of a typed table as text; whole numbers without a decimal point, null for nothing.

    Raises:
        ValueError: for a list or a mapping.
    """
    if value is None or value != value:  # a NaN is no number
        return None
    if isinstance(value, (list, dict, tuple, set)):
        raise ValueError(f"is a {type(value).__name__}, expected text or a number")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return str(value)
