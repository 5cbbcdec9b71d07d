"""Which rows cannot be used, why, and how to fix them: all rules about single images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, get_args

import pandas as pd

from components.base.errors import DataError
from components.data.image_formats import readable, remedy_of
from components.data.records import failures
from components.validation.duplicate_groups import contradictions
from components.validation.settings import AdmissibleProblem

Text = str | pd.Series

COLUMNS = ("image_id", "path", "rule", "value", "expected", "fix")
OWN_WORDS = ("path", "value")  # of the data set: they must not leave this machine

# Problem of ImageFacts -> what was expected, how to fix it.
IMAGES = {
    "missing": (
        "a file at the row's path",
        "add the file, correct its name in the table (value names the nearest file that exists), or take the row out",
    ),
    "outside_folder": (
        "a file below dataset.path",
        "copy the file into the folder instead of linking it; a table with paths of another machine needs "
        "dataset.replace_start (adapter table, params.yaml), as value says",
    ),
    "unreadable": ("a file that can be read", "do what the value says, or correct the permissions of the file"),
    "empty": ("a file with content", "fetch the file again"),
    "not_an_image": (f"one of {', '.join(sorted(readable()))}", "fetch the file again, or take the row out"),
    "unread_format": (f"one of {', '.join(sorted(readable()))}", "convert the image to JPEG or PNG"),
    "corrupt": ("an image that decodes completely", "fetch the file again"),
    "too_large": ("an image of at most 179 megapixels", "shrink the image"),
    "wrong_extension": ("the extension of its content", "rename the file and its row's path"),
    "trailing_bytes": ("nothing after the image's end", "fetch the file again, or save it again with an image program"),
    "cmyk": ("red, green and blue, or grey", "convert the image to sRGB with its own colour profile"),
    "sixteen_bit": ("8 bits a channel", "convert the image to 8 bits with the intensity window of its source"),
    "grey": ("an image in colour", "fetch the colour original, or take the row out"),
    "animated": ("one image a file", "save the intended image as a separate file"),
    "alpha": ("an image that is opaque everywhere", "save the image without transparency"),
}
ADMISSIBLE: tuple[AdmissibleProblem, ...] = get_args(AdmissibleProblem)

OUTSIDE_MAP, TOO_SMALL, TWO_LABELS = "diagnosis.outside_map", "image.too_small", "image.duplicate_with_other_label"
ONE_LESION = ("lesion_id.one_diagnosis", "lesion_id.one_patient")
BY_HAND = (*(f"image.{problem}" for problem in ADMISSIBLE), TOO_SMALL, TWO_LABELS, *ONE_LESION)
"""The rules that a person may overrule for an image, because the image can be used as it is."""

VALUE_NAMES_A_PATH = ("image.missing", "image.outside_folder", "image.unreadable")
OR_ACCEPT = "or accept it by hand (accepted_by_hand.csv)"


def find_unusable(
    records: pd.DataFrame, facts: pd.DataFrame, classes: Sequence[str], min_side: int, admit: Collection[str] = ()
) -> pd.DataFrame:
    """Every reason why a row cannot be used.

    Args:
        records: Raw with `label`.
        facts: one row of ImageFacts a path.
        classes: the labels that a model learns.
        min_side: pixels, of an image's shorter side.
        admit: ADMISSIBLE problems that all images may have.

    Returns:
        COLUMNS with the row's index in `records`, sorted by image and rule; `path` is relative to the data set's
        folder, and no other column contains a path, but for the value of VALUE_NAMES_A_PATH.
    """
    rows_with_facts = records.merge(facts, on="path", how="left").set_axis(records.index)
    found = [
        _contract(records),
        _labels(records, classes),
        _images(rows_with_facts, admit),
        _small(rows_with_facts, min_side),
    ]
    table = pd.concat([*found, _duplicates(rows_with_facts)])[list(COLUMNS)]
    return table.sort_values(["image_id", "rule", "value"], kind="stable").astype("str")


def _reasons(rows: pd.DataFrame, *, rule: Text, value: Text, expected: Text, fix: Text) -> pd.DataFrame:
    """One reason for each of `rows`; each argument is one text, or one text a row."""
    return rows[["image_id", "path"]].assign(rule=rule, value=value, expected=expected, fix=fix)


def _contract(records: pd.DataFrame) -> pd.DataFrame:
    found = failures(records)
    fix = "correct the value in the data set's metadata, or take the row out"
    of_lesion = found["rule"].isin(ONE_LESION)
    of_rows = f"correct the lesion's rows in the data set's metadata, {OR_ACCEPT}"
    found = found.assign(path=records.loc[found.index, "path"].to_numpy())
    return found.assign(fix=of_lesion.map({True: of_rows, False: fix}).astype("str"))


def _labels(records: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    rows = records[records["diagnosis"].notna() & records["label"].isna()]
    expected = f"a diagnosis of one of the classes {', '.join(classes)}"
    fix = "map it under labels.schemes (params.yaml), or take the row out"
    return _reasons(rows, rule=OUTSIDE_MAP, value=rows["diagnosis"], expected=expected, fix=fix)


def _images(rows_with_facts: pd.DataFrame, admit: Collection[str]) -> pd.DataFrame:
    rows = rows_with_facts[rows_with_facts["problem"].notna() & ~rows_with_facts["problem"].isin(list(admit))]
    expected, fix = (rows["problem"].map(lambda word, part=part: IMAGES[word][part]) for part in (0, 1))
    ways = {word: f", admit all of its kind (validate.admit, params.yaml), {OR_ACCEPT}" for word in ADMISSIBLE}
    if "format" in rows:
        fix = fix.mask(rows["problem"] == "unread_format", rows["format"].map(remedy_of, na_action="ignore"))
    fix = fix + rows["problem"].map(lambda word: ways.get(word, ""))
    return _reasons(rows, rule="image." + rows["problem"], value=rows["detail"], expected=expected, fix=fix)


def _small(rows_with_facts: pd.DataFrame, min_side: int) -> pd.DataFrame:
    rows = rows_with_facts[rows_with_facts[["width", "height"]].min(axis=1).lt(min_side).fillna(False)]
    value = rows["width"].astype("str") + " x " + rows["height"].astype("str") + " pixels"
    fix = f"take the row out, lower validate.min_side (params.yaml), {OR_ACCEPT}"
    return _reasons(rows, rule=TOO_SMALL, value=value, expected=f"at least {min_side} pixels a side", fix=fix)


def _duplicates(rows_with_facts: pd.DataFrame) -> pd.DataFrame:
    rows = contradictions(rows_with_facts)
    value = rows["label"] + ", but the same file is " + rows["other"]
    fix = f"find out which label is right and take the other rows out, {OR_ACCEPT}"
    return _reasons(rows, rule=TWO_LABELS, value=value, expected="one label a file", fix=fix)


class QuarantineDecision(NamedTuple):
    """Reasons after the entries of accepted_by_hand.csv were applied."""

    holding: pd.DataFrame  # COLUMNS: reasons that keep their rows out
    overruled: pd.DataFrame  # COLUMNS, who, why
    unused: list[str]  # one line for each entry that matches no reason any more


def apply_accepted(reasons: pd.DataFrame, accepted: pd.DataFrame) -> QuarantineDecision:
    """Split the reasons of `find_unusable` by the entries of `read_accepted`."""
    signed = reasons.merge(accepted, on=["image_id", "rule"], how="left").set_axis(reasons.index)
    overruled = signed["who"].notna()
    needed = set(zip(reasons["image_id"], reasons["rule"], strict=True))
    unused = [
        f"{row.image_id} {row.rule} was accepted by hand, but no longer needs it: delete the line"
        for row in accepted.itertuples()
        if (row.image_id, row.rule) not in needed
    ]
    return QuarantineDecision(reasons[~overruled], signed[overruled], unused)


def for_sharing(reasons: pd.DataFrame) -> pd.DataFrame:
    """The reasons without OWN_WORDS."""
    return reasons[[name for name in COLUMNS if name not in OWN_WORDS]]


def for_page(reasons: pd.DataFrame, *, private: bool) -> pd.DataFrame:
    """The reasons for a page, which leaves this machine: with private data without values from table or path.

    Args:
        reasons: COLUMNS.
        private: whether the data set's own words stay on this machine.
    """
    if not private:
        return reasons
    by_decoder = reasons["rule"].str.startswith("image.") & ~reasons["rule"].isin(VALUE_NAMES_A_PATH)
    return reasons.assign(value=reasons["value"].where(by_decoder, "its value is in the quarantine file"))


def check_share(reasons: pd.DataFrame, rows: int, at_most: float, file: str) -> None:
    """Raises DataError when more than the share `at_most` of all rows have reasons; `file` lists all reasons."""
    bad = reasons.index.nunique()
    if bad <= at_most * rows:
        return
    counts = ", ".join(f"{rule} {count}" for rule, count in count_rules(reasons).items())
    first = "; ".join(f"{row.image_id} {row.rule} = {row.value}" for row in reasons.head(3).itertuples())
    raise DataError(
        f"{bad} of {rows} rows cannot be used ({bad / rows:.1%}), expected at most {at_most:.1%} "
        f"(validate.max_quarantined_share, params.yaml)\nby rule: {counts}\n"
        f"all of them with how to fix each: {file}"
    ).with_words(f"first: {first}")


def count_rules(reasons: pd.DataFrame) -> dict[str, int]:
    """Rule -> number of rows that break it, sorted by rule."""
    return {str(rule): int(count) for rule, count in reasons.groupby("rule").size().sort_index().items()}
