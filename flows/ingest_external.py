"""Stage ingest_external: reads an external test set into a table, before other stages, so that mistakes show early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from components.base.errors import DataError, DermflowError
from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.read_report import ReadReport
from components.data.records import apply_labels, write_records
from components.data.source_error import SourceError
from components.external_validation.diagnoses import MIN_LESIONS, propose, to_paste
from components.validation.settings import Validate as ValidateSettings
from flows.settings.data import Cohort, Privacy, find_cohort
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.datasets import name_diagnoses, read_dataset, write_report
from flows.stage_io.pseudonym_key import read_key


@stage
def ingest_external(
    cohort: str,
    external: Sequence[Cohort],
    dataset: Adapter,
    labels: Labels,
    privacy: Privacy,
    validate: ValidateSettings,
    paths: Paths,
    log: Log,
) -> dict[str, Any]:
    """Write the rows of a cohort with their classes.

    Raises:
        DataError: where the set cannot be read, too many of its diagnoses are in no class, or fewer than two classes
            have enough lesions; it names the cohort and says what to enter in params.yaml.
    """
    chosen = find_cohort(cohort, external)
    table, report = _read(chosen, dataset, labels, privacy)
    write_report(report, paths.external / f"{cohort}.read_report.json", privacy, log)
    records = apply_labels(table, chosen.mapping(labels))
    outside = records["diagnosis"].notna() & records["label"].isna()
    unmapped = records.loc[outside & ~records["diagnosis"].isin(list(chosen.excluded)), "diagnosis"]
    _check_diagnoses(chosen, records, unmapped, labels, validate.max_quarantined_share)
    _check_classes(chosen, records)
    if len(unmapped):
        words = name_diagnoses(unmapped, privacy)
        log.line(f"{len(unmapped)} images are left out, since external.diagnoses maps none of {words}")
    write_records(records, paths.external / f"{cohort}.records.parquet")
    return {
        "images": len(records),
        "labelled": int(records["label"].notna().sum()),
        "unlabelled": int(records["diagnosis"].isna().sum()),
        "excluded": int(outside.sum()) - len(unmapped),
        "outside": len(unmapped),
        "classes": {name: int((records["label"] == name).sum()) for name in labels.classes},
        "read": report.counts(),
    }


def _read(chosen: Cohort, study: Adapter, labels: Labels, privacy: Privacy) -> tuple[pd.DataFrame, ReadReport]:
    """`read_dataset`, whose messages name the cohort, since they speak of `dataset`."""
    try:
        return read_dataset(chosen.dataset, labels, privacy, read_key(privacy), study=study)
    except DermflowError as error:
        message = f"external test set {chosen.name} (its dataset under external, params.yaml)"
        if isinstance(error, SourceError):  # its message names a file of the data set
            raise DataError(f"{message}: a file is {error.problem}").with_words(str(error)) from error
        raise type(error)(f"{message}: {error}").with_words(error.words) from error


def _check_diagnoses(
    chosen: Cohort, records: pd.DataFrame, unmapped: pd.Series, labels: Labels, at_most: float
) -> None:
    """DataError with the line to paste, where too many images are in no class, or all of them."""
    if not len(records) or records["diagnosis"].isna().all():
        raise DataError(
            f"external test set {chosen.name}: none of {len(records)} images has a diagnosis, so there is nothing to "
            "compare with; name the column or the folders of its diagnoses under external.dataset (params.yaml)"
        )
    if len(unmapped) <= at_most * len(records) and records["label"].notna().any():
        return
    if unmapped.empty:
        raise DataError(
            f"external test set {chosen.name}: all diagnoses are excluded (null in external.diagnoses, params.yaml)"
        )
    raise DataError(
        f"external test set {chosen.name}: {len(unmapped)} of {len(records)} images have a diagnosis that is in no "
        f"class ({len(unmapped) / len(records):.1%}), expected at most {at_most:.1%} (validate.max_quarantined_share, "
        f"params.yaml). Each needs a diagnosis of labels.schemes.{labels.scheme}, or null, which leaves its images "
        f"out: check the line below and paste it into `- name: {chosen.name}` under external (params.yaml)"
    ).with_words("\n" + to_paste(propose(unmapped, labels.mapping), chosen.diagnoses, labels.mapping) + "\n")


def _check_classes(chosen: Cohort, records: pd.DataFrame) -> None:
    """DataError where fewer than two classes can have MIN_LESIONS, whatever the later stages leave out."""
    lesions = records[records["label"].notna()].groupby("label")["lesion_id"].nunique()
    if (lesions >= MIN_LESIONS).sum() < 2:
        raise DataError(
            f"external test set {chosen.name}: the classes have lesions {lesions.to_dict()}, expected at least 2 "
            f"classes of {MIN_LESIONS} lesions; map more of its diagnoses under external.diagnoses (params.yaml), "
            "choose a scheme of fewer classes, or take the set out"
        )


if __name__ == "__main__":
    ingest_external.main()
