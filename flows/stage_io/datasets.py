"""Data sets read with their adapter, with pseudonyms and target classes."""

from __future__ import annotations

import pandas as pd

from components.base.errors import DataError
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.privacy import ALL_IDS, PERSON_IDS, pseudonymise
from components.data.records import apply_labels
from flows.settings.data import Privacy


def read_dataset(dataset: Adapter, labels: Labels, privacy: Privacy, key: bytes) -> pd.DataFrame:
    """The rows of a data set.

    Args:
        dataset: the adapter and its folder.
        labels: the target classes.
        privacy: public: image ids stay as they are; secret: they are pseudonyms, too.
        key: of the pseudonyms.

    Returns:
        The columns of components/data/records.py: Raw, with labels, and pseudonyms of patients and lesions. Rows may
        break the rules of Raw.

    Raises:
        DataError: where the folder is missing or its adapter cannot read it.
    """
    if not dataset.path.is_dir():
        raise DataError(
            f"dataset.path = {dataset.path}: no such folder; put the data set there, or name another folder "
            "in params.yaml (docs/your-data.md)"
        )
    table = apply_labels(dataset.read(), labels.mapping)
    return pseudonymise(table, PERSON_IDS if privacy.key == "public" else ALL_IDS, key)
