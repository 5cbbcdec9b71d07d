"""Ids of images, lesions and patients: one form, words for nothing, and warnings about ids that may be mistakes.

Two spellings of one patient put this patient into two splits, and one word for many patients puts their images into one
group. Only the form is changed (`normal_form.clean_id`); ids that are similar, but not equal, are never joined, since
they may be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import pandas as pd

from components.base.normal_form import clean_id, fold
from components.data.read_report import ReadReport
from components.data.vocabulary import is_no_id

PERSON_IDS = ("patient_id", "lesion_id")
ALL_IDS = (*PERSON_IDS, "image_id")
"""With image_id, since it may be a file name, and a file name may contain the name of a person."""

FREQUENT_SHARE = 0.03
"""Of all rows: a patient or lesion with more of them may be a word for `unknown`."""

FREQUENT_ROWS = 10
"""Rows from which on an id can be frequent."""

FREQUENT_RATIO = 5
"""A frequent id has at least this many times the rows of the median of all other ids: ten patients with ten images each
are no mistake."""

SHORT = 6
"""Characters of an id up to which two data sets with different names have it by chance, such as P001."""

NO_IDS = (
    "no ids of patients or lesions: each image counts as its own; pictures of one person may be on both sides of the "
    "split; every interval may be too narrow. Name the columns or patterns that hold the ids (docs/your-data.md)"
)


def normalise_ids(table: pd.DataFrame, report: ReadReport) -> pd.DataFrame:
    """The table with its ids in one form; where a person's id is a word for nothing, it is null.

    An adapter that makes an id of several cells calls this for the cells first; `records.conform` calls it for all.

    Args:
        table: with some of the columns ALL_IDS and source.
        report: gets how many cells changed and how many were words for nothing.
    """
    ids = {column: _normalise(table[column], column, report) for column in (*ALL_IDS, "source") if column in table}
    return table.assign(**ids)


def _normalise(column: pd.Series, name: str, report: ReadReport) -> pd.Series:
    given = column.dropna().map(str)
    forms = {cell: clean_id(cell) for cell in given.unique()}
    tidy = given.map(forms)
    report.count_changed(name, int((tidy != given).sum()))
    if name not in PERSON_IDS:
        return tidy[tidy != ""].reindex(column.index).astype("object")
    nothing = _words_for_nothing(set(forms.values()))
    words = sorted(nothing - {""})
    if words:
        rows = int(tidy.isin(words).sum())
        report.warn(
            "ids_not_stated",
            rows,
            f"{rows} rows have a word for `not stated` as {name}; they count as without it",
            words,
        )
    return tidy[~tidy.isin(nothing)].reindex(column.index).astype("object")


def _words_for_nothing(forms: set[str]) -> set[str]:
    """The forms that are no id; whether initials can be ids is seen from those that are ids in any case."""
    nothing = {form for form in forms if is_no_id(form, coded=True)}
    sure = forms - nothing
    coded = sum(any(letter.isdigit() for letter in form) for form in sure) * 2 >= len(sure)
    return {form for form in nothing if is_no_id(form, coded=coded)}


def check_ids(table: pd.DataFrame, report: ReadReport) -> None:
    """Count the known ids, and warn of ids that are similar, frequent or unknown.

    Args:
        table: with the columns of `records.Raw`; lesion_id is null where the data set names no lesion.
        report: gets `known_ids` and the warnings `similar_ids`, `frequent_ids`, `no_ids` and `partly_known_ids`.
    """
    report.images = len(table)
    report.known_ids = {name: int(table[name].notna().sum()) for name in PERSON_IDS}
    _warn_of_similar(table["source"].dropna(), "source", report)
    for name in PERSON_IDS:
        ids = table.loc[table[name].notna(), ["source", name]]
        for _, of_source in ids.groupby("source", sort=True)[name]:  # ids of two sources are never compared
            _warn_of_similar(of_source, name, report)
        _warn_of_frequent(ids, name, len(table), report)
    known = [count for count in report.known_ids.values() if count]
    for sentence in about_missing_ids(report.images, report.known_ids):
        report.warn("partly_known_ids" if known else "no_ids", report.images - min(known, default=0), sentence)


def about_missing_ids(images: int, known: Mapping[str, int]) -> list[str]:
    """A sentence about images without ids, for log and pages; none where patients or all lesions are known.

    Args:
        images: of the data set.
        known: `patient_id` and `lesion_id` -> images that have one.
    """
    patients, lesions = (known.get(name, 0) for name in PERSON_IDS)
    if not images or patients == images or (lesions == images and not patients):
        return []
    if not patients and not lesions:
        return [NO_IDS]
    return [
        f"{images - count:,} of {images:,} images have no {name} id: each of them counts as a {name} of its own"
        for name, count in (("patient", patients), ("lesion", lesions))
        if 0 < count < images
    ]


def resampled_unit(images: int, known: Mapping[str, int]) -> str:
    """What the groups of the split are, in one word each; arguments as for `about_missing_ids`."""
    patients, lesions = (known.get(name, 0) for name in PERSON_IDS)
    if not patients and not lesions:
        return "images"
    if patients == images:
        return "patients"
    return "lesions or patients" if patients else "lesions"


def _warn_of_similar(ids: pd.Series, name: str, report: ReadReport) -> None:
    pairs = similar_pairs(ids)
    if pairs:
        report.warn(
            "similar_ids",
            len(pairs),
            f"{len(pairs)} pairs of {name} differ only in case, blanks, dashes or leading zeros; they count as "
            "different. If they are the same, correct the table",
            (f"{first!r} and {second!r}" for first, second in pairs.items()),
        )


def similar_pairs(ids: Iterable[str]) -> dict[str, str]:
    """Id -> another one of the same `normal_form.fold`, each id with the next in sorted order."""
    unique = pd.Series(sorted(set(ids)), dtype="object")
    folded = unique.map(fold)
    groups = unique[folded.duplicated(keep=False)].groupby(folded)
    return {first: second for _, group in groups for first, second in pairwise(group)}


def _warn_of_frequent(ids: pd.DataFrame, name: str, rows: int, report: ReadReport) -> None:
    counts = ids.value_counts()
    if not len(counts) or counts.iloc[0] < FREQUENT_ROWS:
        return
    large = counts[(counts >= FREQUENT_ROWS) & (counts > FREQUENT_SHARE * rows)]
    others = counts.drop(large.index) if len(large) <= len(counts) / 2 else counts.iloc[1:]
    usual = others.median() if len(others) else 1
    frequent = large[large >= FREQUENT_RATIO * usual]
    if len(frequent):
        names = frequent.index.get_level_values(name)
        report.warn(
            "frequent_ids",
            len(frequent),
            f"{len(frequent)} values of {name} have more than {FREQUENT_SHARE:.0%} of all rows each, the first "
            f"{frequent.iloc[0]} of {rows}: is it a word for `unknown`? All its images are in one split; if it is no "
            f"{name.removesuffix('_id')}, leave its cells empty",
            (f"{value!r}: {count} rows" for value, count in zip(names, frequent, strict=True)),
        )


def warn_of_shared(ours: pd.DataFrame, theirs: pd.DataFrame, report: ReadReport) -> None:
    """Warn of ids of the study and of an external test set that may be the same person or lesion.

    Equal ids of one source are no matter of a warning: `leaks.prove_external` refuses them.

    Args:
        ours: of the study, with the columns of `records.Raw`, ids as the data set's own words.
        theirs: the same of the external test set.
        report: of the external test set; gets the warnings `similar_ids_of_study` and `equal_ids_of_study`.
    """
    for name in PERSON_IDS:
        mine, other = (_ids_of(each, name) for each in (ours, theirs))
        pairs = mine.assign(form=mine[name].map(fold)).merge(
            other.assign(form=other[name].map(fold)), on="form", suffixes=("", "_theirs")
        )
        same_source = pairs["source"] == pairs["source_theirs"]
        similar = pairs[same_source & (pairs[name] != pairs[f"{name}_theirs"])]
        if len(similar):
            report.warn(
                "similar_ids_of_study",
                len(similar),
                f"{len(similar)} values of {name} differ from one of the study only in case, blanks, dashes or leading "
                "zeros; they count as different. If they are the same, correct one of the tables",
                (f"{a!r} (study) and {b!r}" for a, b in zip(similar[name], similar[f"{name}_theirs"], strict=True)),
            )
        elsewhere = pairs[~same_source & (pairs[name].str.len() > SHORT)]
        places = [elsewhere[column] for column in (name, "source", "source_theirs")]
        if len(elsewhere):
            report.warn(
                "equal_ids_of_study",
                len(elsewhere),
                f"{len(elsewhere)} values of {name} are also in the study, but with another source, so they count as "
                "different. If they are the same, take their images out of the external test set",
                (f"{row[0]!r} of {row[1]} (study) and {row[2]}" for row in zip(*places, strict=True)),
            )


def _ids_of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Source and id, each pair once; without lesions that are the image itself, as in `records.Raw`."""
    known = table[table[name].notna() & (table[name] != table["image_id"])]
    return known[["source", name]].drop_duplicates()
