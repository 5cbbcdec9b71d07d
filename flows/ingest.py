"""Stage ingest: reads the folder of a data set with its adapter into the table of records."""

from __future__ import annotations

from typing import Any

import pandas as pd

from components.base.errors import DataError
from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.privacy import fingerprint
from components.data.read_report import ReadReport
from components.data.records import write_records
from components.data.vocabulary import shortened
from flows.settings.data import Privacy
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.datasets import name_diagnoses, read_dataset, write_report
from flows.stage_io.pseudonym_key import read_key


@stage
def ingest(dataset: Adapter, labels: Labels, privacy: Privacy, paths: Paths, log: Log) -> dict[str, Any]:
    """Write paths.records; DataError where the folder is missing or no image has a label."""
    key = read_key(privacy)
    table, report = read_dataset(dataset, labels, privacy, key)
    write_report(report, paths.read_report, privacy, log)
    if not table["label"].notna().any():
        raise _no_label(table, dataset, labels)
    write_records(table, paths.records)
    outside = table["diagnosis"].notna() & table["label"].isna()
    if outside.any():
        words = name_diagnoses(table.loc[outside, "diagnosis"], privacy)
        log.line(f"{outside.sum()} images have no label: labels.scheme {labels.scheme} lacks {words}")
    return {**_count(table, labels.classes, report), "read": report.counts(), "key": fingerprint(key)}


def _no_label(table: pd.DataFrame, dataset: Adapter, labels: Labels) -> DataError:
    return DataError(
        f"dataset.path = {dataset.path}: none of {len(table)} images has a diagnosis of labels.scheme "
        f"{labels.scheme}, expected some of {sorted(labels.mapping)} (labels.schemes, params.yaml)"
    ).with_words(f"found {shortened(table['diagnosis'].dropna())}")


def _count(table: pd.DataFrame, classes: tuple[str, ...], report: ReadReport) -> dict[str, Any]:
    """Numbers of images, and of lesions and patients with an id; `outside`: images whose diagnosis is in no class."""
    own_lesion = report.images - report.known_ids["lesion_id"]  # images without a lesion id, each with its own instead
    return {
        "images": len(table),
        "labelled": int(table["label"].notna().sum()),
        "unlabelled": int(table["diagnosis"].isna().sum()),
        "outside": int((table["diagnosis"].notna() & table["label"].isna()).sum()),
        "lesions": int(table["lesion_id"].nunique()) - own_lesion,
        "patients": int(table["patient_id"].nunique()),
        "classes": {name: int((table["label"] == name).sum()) for name in classes},
    }


if __name__ == "__main__":
    ingest.main()
