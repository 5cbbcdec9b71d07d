"""Read a data set's folder, whatever its layout, into the one table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from components.base.errors import DataError
from components.base.log import Log
from components.data.adapters import Adapter
from components.data.privacy import EVERYTHING, PEOPLE, fingerprint, pseudonymise
from components.data.records import apply_labels, write_records
from flows.settings import Labels, Paths, Privacy
from flows.stage import stage
from flows.stage_io.pseudonym_key import read_key


@stage
def ingest(dataset: Adapter, labels: Labels, privacy: Privacy, paths: Paths, log: Log) -> dict[str, Any]:
    """Write paths.records; raises DataError for a missing folder, and for one in which nothing has a label."""
    key = read_key(privacy)
    table = read_dataset(dataset, labels, privacy, key)
    if not table["label"].notna().any():
        raise DataError(_nothing_to_learn(table, dataset, labels))
    write_records(table, paths.records)
    outside = table["diagnosis"].notna() & table["label"].isna()
    if outside.any():
        words = sorted(table.loc[outside, "diagnosis"].unique())
        log.line(f"{outside.sum()} images stay without a label: labels.scheme {labels.scheme} lacks {words}")
    return {**_count(table, labels.classes), "key": fingerprint(key)}


def read_dataset(dataset: Adapter, labels: Labels, privacy: Privacy, key: bytes) -> pd.DataFrame:
    """A data set's rows with labels, ids as keyed hashes; an image's own id stays where the data are published."""
    if not dataset.path.is_dir():
        raise DataError(
            f"dataset.path = {dataset.path}: no such folder; put the data set there, or name another folder "
            "in params.yaml (docs/your-data.md)"
        )
    table = apply_labels(dataset.read(), labels.mapping)
    return pseudonymise(table, PEOPLE if privacy.key == "public" else EVERYTHING, key)


def _nothing_to_learn(table: pd.DataFrame, dataset: Adapter, labels: Labels) -> str:
    found = sorted(table["diagnosis"].dropna().unique())
    return (
        f"dataset.path = {dataset.path}: none of {len(table)} images has a diagnosis of labels.scheme "
        f"{labels.scheme}; found {found}, expected some of {sorted(labels.mapping)} (labels.schemes, params.yaml)"
    )


def _count(table: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    """What the table holds; `outside`: images whose diagnosis is in no class."""
    return {
        "images": len(table),
        "labelled": int(table["label"].notna().sum()),
        "unlabelled": int(table["diagnosis"].isna().sum()),
        "outside": int((table["diagnosis"].notna() & table["label"].isna()).sum()),
        "lesions": int(table["lesion_id"].nunique()),
        "patients": int(table["patient_id"].nunique()),
        "classes": {name: int((table["label"] == name).sum()) for name in classes},
    }


if __name__ == "__main__":
    ingest.main()
