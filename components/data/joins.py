"""Optional tables about the images: joined by id, with a count of what matched, and refused where too little did.

Files of one data set spell an id in several ways: `ISIC_1.jpg`, `ISIC_1_downsampled`, `isic-0001`, `1`. The rules are
tried from strict to loose; a rule joins an id only where it is unambiguous on both sides.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

import pandas as pd

from components.base.errors import DataError
from components.base.normal_form import clean_id, fold
from components.data.ids import PERSON_IDS, normalise_ids
from components.data.read_report import Join, ReadReport

_MARKS = re.compile(r"[._-]+")
_ADDED = ("_downsampled", "_resized")  # the first by the publishers of ISIC 2019
_FILE_SUFFIXES = re.compile(r"(\.[A-Za-z][A-Za-z0-9]{1,3})+$")


def bare_name(name: str) -> str:
    """An image's name without folders, file suffixes and the additions of publishers."""
    stem = _FILE_SUFFIXES.sub("", clean_id(name).replace("\\", "/").rstrip("/").rpartition("/")[2])
    for added in _ADDED:
        stem = stem.removesuffix(added)
    return stem


def _loose_name(name: str) -> str:
    return _MARKS.sub("", fold(bare_name(name)))


def _numbers(ids: pd.Series) -> pd.Series:
    """The number in each id where all ids of the column are equal but for it, as `ISIC_` and a number; else empty."""
    names = ids.map(bare_name).map(fold)
    unique = list(names.unique())
    if len(unique) < 2:
        return names.map(lambda _: "")
    before = _common_start(unique).rstrip("0123456789")
    after = _common_start([name[::-1] for name in unique])[::-1].lstrip("0123456789")
    cores = names.str.slice(len(before)).str.removesuffix(after)
    return cores if cores.str.fullmatch("[0-9]+").all() else names.map(lambda _: "")


def _common_start(names: list[str]) -> str:
    return os.path.commonprefix(names)  # noqa: RUF071  # of characters, as wanted here


NUMBERS = "numbers in ids"
NUMBERS_SHARE = 0.9
"""Of the ids that numbers must match, since some numbers of two tables are equal by chance."""

RULES: Mapping[str, Callable[[pd.Series], pd.Series]] = {
    "equal ids": lambda ids: ids.map(clean_id),
    "ids without file suffix": lambda ids: ids.map(bare_name),
    "ids without case, marks and leading zeros": lambda ids: ids.map(_loose_name),
    NUMBERS: _numbers,
}
"""How ids are matched; the last rule is used only where no other one finds anything."""


def join_optional(
    table: pd.DataFrame, other: pd.DataFrame, key: str, *, name: str, minimum: float, report: ReadReport
) -> pd.DataFrame:
    """The table with the columns of another one; see `join_tables`."""
    return join_tables(table, {name: other}, key, minimum=minimum, report=report)


def join_tables(
    table: pd.DataFrame, others: Mapping[str, pd.DataFrame], key: str, *, minimum: float, report: ReadReport
) -> pd.DataFrame:
    """The table with the columns of others.

    Args:
        table: with the column `key`, one row an image.
        others: name for messages and metrics -> table with the column `key` and further ones.
        key: the image's id in all of them.
        minimum: share of `table`'s rows about which some table with a column must know; setting dataset.min_matched. A
            column that `table` has itself needs no other table.
        report: gets the number of matched rows of each table.

    Returns:
        A copy with the columns of the others; null where nothing matched. A cell of `table` counts before those of the
        others, and these in their order. Where two tables name the same lesions otherwise, one to one, the first
        names count.

    Raises:
        DataError: where fewer rows match, or an image has several patients or lesions.
    """
    joined = normalise_ids(table, report)
    known = {str(name): pd.Series(True, index=table.index) for name in table if name != key}
    for name, given in others.items():
        other = _one_row_an_id(normalise_ids(given, report), key, name, report)
        places, used = match_ids(table[key].fillna("").map(str), other[key].map(str))
        found = places >= 0
        report.joins.append(Join(name, int(found.sum()), len(table), "; ".join(used) or "no rule"))
        rows = other.drop(columns=key).reindex(places.where(found, -1)).set_axis(table.index)
        for column in map(str, rows):
            joined[column] = _filled(joined, rows[column], name, report) if column in joined else rows[column]
            known[column] = known.get(column, pd.Series(False, index=table.index)) | found
    _check_matched(table, others, key, {column: int(rows.sum()) for column, rows in known.items()}, minimum, report)
    return joined


def _check_matched(
    table: pd.DataFrame,
    others: Mapping[str, pd.DataFrame],
    key: str,
    known: Mapping[str, int],
    minimum: float,
    report: ReadReport,
) -> None:
    """Refuse columns about which too few rows are known; warn of tables that are about other images."""
    joins = {join.table: join for join in report.joins if join.table in others}
    lacking = [column for column, count in known.items() if count < minimum * len(table)]
    named = [name for name, other in others.items() if set(lacking) & set(other)]
    if lacking:
        counts = "; ".join(f"{name}: {joins[name].matched} of {len(table)} images matched" for name in named)
        words = [f"{name} has ids such as {list(others[name][key].dropna()[:2])}" for name in named]
        raise DataError(
            f"{counts}; expected at least {minimum:.0%} (dataset.min_matched, params.yaml): without it "
            f"{', '.join(sorted(lacking))} would be lost. Correct the ids of one of the tables, remove the table, or "
            "lower the share if it is right that others are missing"
        ).with_words("; ".join([f"the images have ids such as {list(table[key].dropna()[:2])}", *words]))
    for name, join in joins.items():
        if not join.matched and len(others[name]):
            report.warn("not_joined", 1, f"{name} is about other images: 0 of {len(table)} matched; it is not used")


def _filled(joined: pd.DataFrame, theirs: pd.Series, name: str, report: ReadReport) -> pd.Series:
    """A column with the cells of another table where it has none.

    Raises:
        DataError: for ids of persons that contradict those of the other table.
    """
    column = str(theirs.name)
    ours = joined[column]
    both = pd.DataFrame({"ours": ours, "theirs": theirs}).dropna()
    both = both.assign(differ=both["ours"].map(clean_id) != both["theirs"].map(clean_id))
    count = int(both["differ"].sum())
    if count and column in PERSON_IDS:
        pairs = both[["ours", "theirs"]].drop_duplicates()
        if pairs["ours"].duplicated().any() or pairs["theirs"].duplicated().any():
            raise DataError(
                f"{name}: {count} images have another {column} than in the tables before it, expected one {column} an "
                "image; correct or remove one of the tables"
            ).with_words(f"first {both.loc[both['differ'], ['ours', 'theirs']].iloc[0].to_list()}")
        report.warn(
            "other_names", count, f"{name} has other names for the same {column}, one to one; they are not used"
        )
        translated = theirs.map(dict(zip(pairs["theirs"], pairs["ours"], strict=True)))
        return ours.fillna(translated.fillna(theirs))
    if count:
        report.warn(
            "conflicting_rows",
            count,
            f"{name}: {count} images have another {column} than in the tables before it; the first counts",
        )
    return ours.fillna(theirs)


def match_ids(ours: pd.Series, theirs: pd.Series) -> tuple[pd.Series, list[str]]:
    """The row of `theirs` for each id of ours, -1 where there is none, and the rules that matched some.

    Args:
        ours: ids; one may stand several times.
        theirs: ids, each once, with the index 0, 1, 2 ...
    """
    places = pd.Series(-1, index=ours.index)
    used: list[str] = []
    for rule, form in RULES.items():
        open_rows = places < 0
        left = ours[open_rows & (ours != "")]
        free = theirs[~theirs.index.isin(places[~open_rows])]
        if left.empty or free.empty or (rule == NUMBERS and used):
            break
        found = _match(left, free, form)
        if len(found) and (rule != NUMBERS or len(found) >= NUMBERS_SHARE * len(ours)):
            places.loc[found.index] = found.astype(int)
            used.append(rule)
    return places, used


def _match(ours: pd.Series, theirs: pd.Series, form: Callable[[pd.Series], pd.Series]) -> pd.Series:
    """The row of `theirs` for the ids of ours whose form is unambiguous on both sides."""
    unique = pd.Series(ours.unique(), dtype="object")
    keys = pd.Series(form(unique).to_numpy(), index=unique.to_numpy())
    keys = keys[~keys.duplicated(keep=False) & (keys != "")]
    known = form(theirs)
    known = known[~known.duplicated(keep=False)]
    target = dict(zip(known, known.index, strict=True))
    return ours.map(keys.to_dict()).map(target).dropna()


def _one_row_an_id(other: pd.DataFrame, key: str, name: str, report: ReadReport) -> pd.DataFrame:
    """The first value of each column for each id; DataError where an id has two patients or lesions."""
    other = other[other[key].notna()]
    other = other.assign(**{key: other[key].map(lambda cell: clean_id(str(cell)))})
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
