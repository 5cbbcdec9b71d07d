"""The profile of a data set: numbers of an accepted version that a later version is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import Field, ValidationError

from components.base.config import Frozen, explain
from components.base.errors import DataError
from components.base.fields import Share

QUALITIES = ("luma", "sharpness", "saturation", "vignette", "side")  # side: the shorter one, pixels
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
PATIENT_COLUMNS = ("age", "sex", "site", "skin_type")  # may be missing
DIGITS = 6  # significant: more would differ between machines


class DataProfile(Frozen):
    """The numbers; `profile` computes them, `read_reference` checks those of another version."""

    rows: int = Field(ge=1)
    groups: int = Field(ge=1, description="patients or lesions")
    labelled: Share = Field(description="of rows")
    classes: dict[str, Share] = Field(description="of labelled rows, in the classes' order")
    missing: dict[str, Share] = Field(description="of rows, for each column about the patient; unknown is missing")
    sources: dict[str, Share] = Field(description="of rows, by the data set's name")
    quantiles: dict[str, dict[str, float]] = Field(description="of images: q05 to q95 of each measure")


def profile(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """The DataProfile as plain numbers for JSON; it does not depend on the order of rows.

    Args:
        table: at least one row, with Accepted's columns, the measures of ImageFacts and `group`.
        classes: the labels that a model learns, in order.
    """
    patient = known(table)
    made = DataProfile(
        rows=len(table),
        groups=int(table["group"].nunique()),
        labelled=_round(float(table["label"].notna().mean())),
        classes=class_shares(table["label"], classes),
        missing={name: _round(float(patient[name].isna().mean())) for name in PATIENT_COLUMNS},
        sources=_shares(table["source"].value_counts().sort_index()),
        quantiles=_quantiles(table.assign(side=table[["width", "height"]].min(axis=1))),
    )
    return made.model_dump()


def known(table: pd.DataFrame) -> pd.DataFrame:
    """PATIENT_COLUMNS of each row, with `unknown` as missing."""
    return table[list(PATIENT_COLUMNS)].assign(
        **{name: table[name].where(table[name] != "unknown") for name in ("sex", "site")}
    )


def class_shares(labels: pd.Series, classes: Sequence[str]) -> dict[str, float]:
    """Class -> its share of the labelled rows; 0 where none is labelled."""
    return _shares(labels.value_counts().reindex(list(classes), fill_value=0))


def _shares(counts: pd.Series) -> dict[str, float]:
    return {str(name): _round(count / max(counts.sum(), 1)) for name, count in counts.items()}


def _quantiles(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Of each quality; one without values is left out, since JSON has no NaN."""
    measured = {name: table[name].dropna().astype("float64") for name in QUALITIES}
    return {
        name: {key: _round(float(values.quantile(level))) for key, level in QUANTILES.items()}
        for name, values in measured.items()
        if not values.empty
    }


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def read_reference(data: Mapping[str, Any], classes: Sequence[str]) -> DataProfile:
    """The DataProfile of an accepted version; DataError where `data` is no profile, or has other classes."""
    fix = "name a version made with these settings (validate.reference, params.yaml), or null for none"
    try:
        made = DataProfile.model_validate(data)
    except ValidationError as error:
        raise DataError(f"{explain(error, data, 'the reference profile')}\n{fix}") from None
    if set(made.classes) != set(classes):
        raise DataError(f"the reference profile has the classes {list(made.classes)}, expected {list(classes)}; {fix}")
    return made
