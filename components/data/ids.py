"""Ids of images, lesions and patients: one form, words for nothing, and warnings about ids that may be mistakes.

Two spellings of one patient put this patient into two splits, and one word for many patients puts their images into one
group. Only the form is changed (`normal_form.clean_id`); ids that are similar, but not equal, are never joined, since
they may be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pandas as pd

from components.base.normal_form import clean_id, fold
from components.data.read_report import ReadReport
from components.data.vocabulary import is_unstated

PERSON_IDS = ("patient_id", "lesion_id")
ALL_IDS = (*PERSON_IDS, "image_id")
"""With image_id, since it may be a file name, and a file name may contain the name of a person."""

FREQUENT_SHARE = 0.05
"""Of all rows: a patient or lesion with more of them may be a word for `unknown`."""

FREQUENT_ROWS = 20
"""Rows below which no id counts as frequent, as in small data sets."""


def normalise_ids(table: pd.DataFrame, report: ReadReport) -> pd.DataFrame:
    """The table with its ids in one form; where a person's id is a word for nothing, it is null.

    Args:
        table: with some of the columns ALL_IDS as text.
        report: gets how many cells changed and how many were words for nothing, and the warnings of `check_ids`.
    """
    ids = {column: _normalise(table[column], column, report) for column in ALL_IDS if column in table}
    return table.assign(**ids)


def _normalise(column: pd.Series, name: str, report: ReadReport) -> pd.Series:
    given = column.dropna().map(str)
    forms = {cell: clean_id(cell) for cell in given.unique()}
    tidy = given.map(forms)
    report.changed[name] += int((tidy != given).sum())
    if name in PERSON_IDS:
        nothing = {form for form in set(forms.values()) if is_unstated(form)}
        words = sorted(word for word in nothing if word)
        empty = tidy.isin(nothing)
        if words:
            rows = int(tidy.isin(words).sum())
            report.warn(
                "ids_not_stated",
                rows,
                f"{rows} rows have a word for `not stated` as {name}; they count as rows without one",
                words,
            )
        tidy = tidy[~empty]
    return tidy.reindex(column.index).astype("object")


def check_ids(table: pd.DataFrame, report: ReadReport) -> None:
    """Warn of ids that are similar or frequent, and where neither patients nor lesions are known.

    Args:
        table: with the columns of `records.Raw`; lesion_id is null where the data set names no lesion.
        report: gets the warnings `similar_ids`, `frequent_ids` and `no_ids`.
    """
    for name in PERSON_IDS:
        _warn_of_similar(table[name].dropna(), name, report)
        _warn_of_frequent(table[name].dropna(), name, len(table), report)
    if len(table) and table[list(PERSON_IDS)].isna().all(axis=None):
        report.warn(
            "no_ids",
            len(table),
            "no image has a patient id or a lesion id: each image counts as a lesion of its own, images of one person "
            "may be in train and in test, and every interval may be too narrow. Name the columns or patterns that "
            "hold the ids (docs/your-data.md)",
        )


def _warn_of_similar(ids: pd.Series, name: str, report: ReadReport) -> None:
    pairs = similar_pairs(ids)
    if pairs:
        report.warn(
            "similar_ids",
            len(pairs),
            f"{len(pairs)} pairs of {name} differ only in case, blanks or leading zeros; they count as different. If "
            "they are the same, correct the table",
            (f"{first!r} and {second!r}" for first, second in pairs.items()),
        )


def similar_pairs(ids: pd.Series) -> Mapping[str, str]:
    """Id -> another one of the same `normal_form.fold`, each id with the next in sorted order."""
    unique = pd.Series(sorted(ids.unique()), dtype="object")
    folded = unique.map(fold)
    groups = unique[folded.duplicated(keep=False)].groupby(folded)
    return {first: second for _, group in groups for first, second in pairwise(group)}


def _warn_of_frequent(ids: pd.Series, name: str, rows: int, report: ReadReport) -> None:
    counts = ids.value_counts()
    frequent = counts[counts > max(FREQUENT_ROWS, FREQUENT_SHARE * rows)]
    if len(frequent):
        report.warn(
            "frequent_ids",
            len(frequent),
            f"{len(frequent)} values of {name} have more than {FREQUENT_SHARE:.0%} of all rows each (the first has "
            f"{frequent.iloc[0]} of {rows}); is it a word for `unknown`? Such rows are all in one split",
            (f"{value!r}: {count} rows" for value, count in frequent.items()),
        )
