"""Data sets read with their adapter, with pseudonyms and target classes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from components.base.errors import DataError
from components.base.files import write_text
from components.base.log import Log
from components.data.adapters import Adapter
from components.data.folder_account import account_for_files
from components.data.ids import ALL_IDS, PERSON_IDS, warn_of_shared
from components.data.labels import Labels
from components.data.privacy import pseudonymise
from components.data.read_report import ReadReport
from components.data.records import apply_labels
from components.data.vocabulary import shortened
from flows.settings.data import Privacy
from flows.stage_io.files import read_json


def read_dataset(
    dataset: Adapter, labels: Labels, privacy: Privacy, key: bytes, study: Adapter | None = None
) -> tuple[pd.DataFrame, ReadReport]:
    """The rows of a data set.

    Args:
        dataset: the adapter and its folder.
        labels: the target classes.
        privacy: public: image ids stay as they are; secret: they are pseudonyms, too.
        key: of the pseudonyms.
        study: the study's data set where `dataset` is an external test set; its ids are read, too, and compared, since
            pseudonyms do not show that two ids differ only in case or leading zeros.

    Returns:
        The columns of components/data/records.py: Raw, with labels, and pseudonyms of patients and lesions, whose rows
        may break the rules of Raw; and what reading them did beyond that.

    Raises:
        DataError: where the folder is missing or its adapter cannot read it.
    """
    if not dataset.path.is_dir():
        raise DataError(
            f"dataset.path = {dataset.path}: no such folder; put the data set there, or name another folder "
            "in params.yaml (docs/your-data.md)"
        )
    report = ReadReport()
    table = apply_labels(dataset.read(report), labels.mapping)
    if study is not None:
        warn_of_shared(study.read(ReadReport()), table, report)
    account_for_files(dataset.path, table["path"], report)
    return pseudonymise(table, PERSON_IDS if privacy.key == "public" else ALL_IDS, key), report


def read_report(file: Path) -> ReadReport:
    """The report that `write_report` wrote; DataError where it is missing."""
    return ReadReport.parse(read_json(file))


def name_diagnoses(words: pd.Series, privacy: Privacy) -> str:
    """The diagnoses of some rows for a log line, such as `1 words: 'wart'`.

    With private data it is their number alone: a column of ids or names can be taken for that of the diagnosis, and a
    log line leaves this host.
    """
    return shortened(words) if privacy.key == "public" else f"{words.nunique()} words (see the quarantine file)"


def write_report(report: ReadReport, file: Path, privacy: Privacy, log: Log) -> None:
    """The report as a file beside the data, and as log lines, which with private data have no words of the tables."""
    write_text(file, json.dumps(report.complete(), indent=1, ensure_ascii=False) + "\n")
    for line in report.lines(with_examples=privacy.key == "public"):
        log.line(line)
    if privacy.key != "public" and any(warning.examples for warning in report.warnings):
        log.line(f"examples of these warnings are in {file}, which stays with the data")
