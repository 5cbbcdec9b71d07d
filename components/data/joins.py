"""Optional tables about the images: joined by id, with a count of what matched, and refused where too little did.

Files of one data set spell an id in several ways: `ISIC_1.jpg`, `ISIC_1_downsampled`, `isic-0001`. The rules are tried
from strict to loose; a rule joins an id only where it is unambiguous on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import pandas as pd

from components.base.errors import DataError
from components.base.normal_form import clean_id, fold
from components.data.ids import PERSON_IDS
from components.data.read_report import Join, ReadReport

_MARKS = re.compile(r"[._-]+")
_ADDED = ("_downsampled",)  # by the publishers of ISIC 2019
_FILE_SUFFIX = re.compile(r"\.[A-Za-z]{3,4}$")


def bare_name(name: str) -> str:
    """An image's name without folders, file suffix and the additions of publishers."""
    stem = _FILE_SUFFIX.sub("", PurePosixPath(clean_id(name).replace("\\", "/")).name)
    for added in _ADDED:
        stem = stem.removesuffix(added)
    return stem


RULES: Mapping[str, Callable[[str], str]] = {
    "equal ids": clean_id,
    "ids without file suffix": bare_name,
    "ids without case, marks and leading zeros": lambda name: _MARKS.sub("", fold(bare_name(name))),
}


def join_optional(
    table: pd.DataFrame, other: pd.DataFrame, key: str, *, name: str, minimum: float, report: ReadReport
) -> pd.DataFrame:
    """The table with the columns of another one.

    Args:
        table: with the column `key`, one row an image.
        other: with the column `key` and further ones.
        key: the image's id in both.
        name: of the other table, for messages and metrics.
        minimum: share of `table`'s rows that must match; setting dataset.min_matched.
        report: gets the number of matched rows.

    Returns:
        A copy with the columns of `other`; null where nothing matched. A column that both have keeps the cell of
        `table` where it has one.

    Raises:
        DataError: where fewer rows match, or one id has several patients or lesions.
    """
    other = _one_row_an_id(other, key, name, report)
    places, used = match_ids(table[key].fillna("").map(str), other[key].map(str))
    matched = int((places >= 0).sum())
    report.joins.append(Join(name, matched, len(table), ", ".join(used) or "no rule"))
    if matched < minimum * len(table):
        ours = next((value for value, place in zip(table[key], places, strict=True) if place < 0), "")
        raise DataError(
            f"{name}: {matched} of {len(table)} images matched, expected at least {minimum:.0%} "
            "(dataset.min_matched, params.yaml): without this table lesions, patients and ages would be lost. Correct "
            "the ids of one of the tables, remove the table, or lower the share if it is right that others are missing"
        ).with_words(f"first image without a match: {ours!r}; {name} has ids such as {other[key].iloc[0]!r}")
    rows = other.drop(columns=key).reindex(places.where(places >= 0, -1)).set_axis(table.index)
    joined = table.copy()
    for column in rows:
        joined[column] = table[column].fillna(rows[column]) if column in table else rows[column]
    return joined


def match_ids(ours: pd.Series, theirs: pd.Series) -> tuple[pd.Series, list[str]]:
    """The row of `theirs` for each id of ours, -1 where there is none, and the rules that matched some.

    Args:
        ours: ids; one may stand several times.
        theirs: ids, each once.
    """
    places = pd.Series(-1, index=ours.index)
    used = []
    for rule, form in RULES.items():
        open_rows = places < 0
        left = ours[open_rows & (ours != "")]
        free = theirs[~theirs.index.isin(places[~open_rows])]
        if left.empty or free.empty:
            break
        keys = pd.Series({value: form(value) for value in left.unique()})
        unique = keys[~keys.duplicated(keep=False) & (keys != "")]
        known = free.map(form)
        target = pd.Series(known.index, index=known).loc[~known.duplicated(keep=False).to_numpy()]
        found = left.map(unique.to_dict()).map(target.to_dict()).dropna()
        if len(found):
            places.loc[found.index] = found.astype(int)
            used.append(rule)
    return places, used


def _one_row_an_id(other: pd.DataFrame, key: str, name: str, report: ReadReport) -> pd.DataFrame:
    """The first value of each column for each id; DataError where an id has two patients or lesions."""
    other = other[other[key].notna()]
    if not other[key].duplicated().any():
        return other.reset_index(drop=True)
    values = other.groupby(key, sort=False).nunique()
    clashes = {column: int((values[column] > 1).sum()) for column in values if (values[column] > 1).any()}
    persons = {column: count for column, count in clashes.items() if column in PERSON_IDS}
    if persons:
        raise DataError(
            f"{name}: images with several values: {persons}, expected one patient and one lesion an image; correct "
            "the table"
        ).with_words(f"first {values.index[(values[list(persons)] > 1).any(axis='columns')][0]!r}")
    for column, count in clashes.items():
        report.warn(
            "conflicting_rows", count, f"{name}: {count} images have several values of {column}; the first counts"
        )
    return other.groupby(key, sort=False, as_index=False).first()
