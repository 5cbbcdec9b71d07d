"""A data set read through its adapter, with hashed ids and our classes."""

from __future__ import annotations

import pandas as pd

from components.base.errors import DataError
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.privacy import EVERYTHING, PEOPLE, pseudonymise
from components.data.records import apply_labels
from flows.settings.data import Privacy


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
