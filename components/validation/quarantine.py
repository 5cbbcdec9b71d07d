"""Which rows cannot be used, why, and what mends them: every rule about single images in one place."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pandas as pd

from components.base.errors import DataError
from components.data.records import Raw, failures
from components.validation.duplicates import contradictions

Text = str | pd.Series
Admissible = Literal["wrong_extension", "trailing_bytes", "cmyk", "sixteen_bit", "grey", "animated", "alpha"]
"""Problems of images that decode all the same: a setting may let them pass, or a person."""

COLUMNS = ("image_id", "rule", "value", "expected", "mend")
SIGNED = ("image_id", "rule", "who", "why")  # of accepted_by_hand.csv

# Problem of scan.Facts -> what was expected, what mends it.
IMAGES = {
    "missing": ("a file at the row's path", "add the file, or take the row out of the metadata"),
    "outside_folder": ("a file below dataset.path", "copy the file into the folder instead of linking it"),
    "unreadable": ("a file that may be read", "mend the file's permissions or its disk"),
    "empty": ("a file with content", "fetch the file again"),
    "not_an_image": ("BMP, JPEG, PNG, TIFF or WEBP", "fetch the file again, or take the row out"),
    "corrupt": ("an image that decodes completely", "fetch the file again"),
    "too_large": ("an image of at most 179 megapixels", "shrink the image"),
    "wrong_extension": ("the extension of its content", "rename the file and its row's path"),
    "trailing_bytes": ("nothing after the image's end", "fetch the file again, or save it anew from an image program"),
    "cmyk": ("red, green and blue, or grey", "convert the image to sRGB with its own colour profile"),
    "sixteen_bit": ("8 bits a channel", "convert the image to 8 bits with the window that its makers meant"),
    "grey": ("an image in colour", "fetch the colour original, or take the row out"),
    "animated": ("one picture a file", "save the picture that is meant as a file of its own"),
    "alpha": ("an image that is opaque everywhere", "save the image without transparency"),
}
ADMISSIBLE: tuple[Admissible, ...] = get_args(Admissible)

OUTSIDE_MAP, TOO_SMALL, TWO_LABELS = "diagnosis.outside_map", "image.too_small", "image.duplicate_with_other_label"
ONE_LESION = ("lesion_id.one_diagnosis", "lesion_id.one_patient")
BY_HAND = (*(f"image.{problem}" for problem in ADMISSIBLE), TOO_SMALL, TWO_LABELS, *ONE_LESION)
"""The rules that a person may overrule for an image, because what they doubt can be used as it is."""

SIGN = "or accept it by hand (accepted_by_hand.csv)"


def find_unusable(
    records: pd.DataFrame, facts: pd.DataFrame, classes: Sequence[str], min_side: int, admit: Collection[str] = ()
) -> pd.DataFrame:
    """Every reason against every row: COLUMNS, with the row's index in `records`, sorted by image and rule.

    `records` is Raw's table with `label` filled, `facts` one row of scan.Facts a path; `admit` are the
    ADMISSIBLE problems that the whole data set may have. No text holds a path: ids name the rows.
    """
    seen = records.merge(facts, on="path", how="left").set_axis(records.index)
    found = [_contract(records), _labels(records, classes), _images(seen, admit), _small(seen, min_side)]
    table = pd.concat([*found, _duplicates(seen)])[list(COLUMNS)]
    return table.sort_values(["image_id", "rule", "value"], kind="stable").astype("str")


def _reasons(rows: pd.DataFrame, rule: Text, value: Text, expected: Text, mend: Text) -> pd.DataFrame:
    """One reason for each of `rows`; each argument is one text or one a row."""
    return rows[["image_id"]].assign(rule=rule, value=value, expected=expected, mend=mend)


def _contract(records: pd.DataFrame) -> pd.DataFrame:
    found = failures(records)
    mend = "mend the value in the data set's metadata, or take the row out"
    of_lesion = found["rule"].isin(ONE_LESION)
    lesion = f"mend the lesion's rows in the data set's metadata, {SIGN}"
    return found.assign(mend=of_lesion.map({True: lesion, False: mend}).astype("str"))


def _labels(records: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    rows = records[records["diagnosis"].notna() & records["label"].isna()]
    expected = f"a diagnosis of one of the classes {', '.join(classes)}"
    mend = "map it under labels.schemes (params.yaml), or take the row out"
    return _reasons(rows, OUTSIDE_MAP, rows["diagnosis"], expected, mend)


def _images(seen: pd.DataFrame, admit: Collection[str]) -> pd.DataFrame:
    rows = seen[seen["problem"].notna() & ~seen["problem"].isin(list(admit))]
    expected, mend = (rows["problem"].map(lambda word, part=part: IMAGES[word][part]) for part in (0, 1))
    ways = {word: f", admit all of its kind (validate.admit, params.yaml), {SIGN}" for word in ADMISSIBLE}
    mend = mend + rows["problem"].map(lambda word: ways.get(word, ""))
    return _reasons(rows, "image." + rows["problem"], rows["detail"], expected, mend)


def _small(seen: pd.DataFrame, min_side: int) -> pd.DataFrame:
    rows = seen[seen[["width", "height"]].min(axis=1).lt(min_side).fillna(False)]
    value = rows["width"].astype("str") + " x " + rows["height"].astype("str") + " pixels"
    mend = f"take the row out, lower validate.min_side (params.yaml), {SIGN}"
    return _reasons(rows, TOO_SMALL, value, f"at least {min_side} pixels a side", mend)


def _duplicates(seen: pd.DataFrame) -> pd.DataFrame:
    rows = contradictions(seen)
    value = rows["label"] + ", but the same file is " + rows["other"]
    mend = f"find out which label is right and take the other rows out, {SIGN}"
    return _reasons(rows, TWO_LABELS, value, "one label a file", mend)


def read_accepted(file: Path, image_ids: Collection[str]) -> pd.DataFrame:
    """What people have accepted by hand: SIGNED, one row an entry, in the file's order; none without a file.

    Raises DataError, naming the line, for an entry that is not whole, not of this data set, not of a rule that
    can be overruled, or there twice.
    """
    entries: dict[tuple[str, str], tuple[int, list[str]]] = {}
    known = set(image_ids)
    for line, cells in _entries(file) if file.is_file() else ():
        entry = dict(zip(SIGNED, cells, strict=True))
        _check_entry(entry, known, f"{file}, line {line}")
        first, _ = entries.setdefault((entry["image_id"], entry["rule"]), (line, cells))
        if first != line:
            raise DataError(f"{file}, line {line}: {entry['image_id']} {entry['rule']} stands in line {first} already")
    return pd.DataFrame([cells for _, cells in entries.values()], columns=list(SIGNED), dtype="str")


def _entries(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Each entry with the line it begins on, its cells in the order of SIGNED and without outer blanks."""
    lines = _lines(file)
    _, header = next(lines, (1, []))
    if sorted(header) != sorted(SIGNED):
        raise DataError(f"{file}, line 1: has the columns {header}, expected {list(SIGNED)}, comma-separated")
    for line, cells in lines:
        if len(cells) != len(SIGNED):
            raise DataError(
                f"{file}, line {line}: has {len(cells)} cells {cells}, expected {len(SIGNED)}; "
                'a text with commas stands in quotes: "a, b"'
            )
        yield line, [cells[header.index(name)] for name in SIGNED]


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row of a CSV file that is not blank, with the line it begins on."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:  # -sig: a spreadsheet's mark is no column
            reader, begin = csv.reader(opened, strict=True), 1
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield begin, [cell.strip() for cell in cells]
                begin = reader.line_num + 1
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: is no table of comma-separated values in UTF-8 ({error})") from error


def _check_entry(entry: dict[str, str], image_ids: Collection[str], place: str) -> None:
    for name, value in entry.items():
        if not value:
            raise DataError(f"{place}: {name} is empty, expected {_MEANING[name]}")
    if entry["image_id"] not in image_ids:
        raise DataError(
            f"{place}: image_id is {entry['image_id']!r}, expected an image of this data set, "
            "as the quarantine names it"
        )
    refusal = _refuse(entry["rule"])
    if refusal:
        raise DataError(f"{place}: rule is {entry['rule']!r}, {refusal}; expected one of {', '.join(BY_HAND)}")


_MEANING = {
    "image_id": "the image's id, as the quarantine names it",
    "rule": "the rule's name, as in the quarantine",
    "who": "the name of the person who accepts the image",
    "why": "the reason for accepting it",
}


def _refuse(rule: str) -> str | None:
    """Why a rule cannot be overruled by hand; None where it can."""
    if rule in BY_HAND:
        return None
    part, _, name = rule.partition(".")
    if part == "image" and name in IMAGES:
        return "and nobody can accept it: there is no picture to learn from"
    if rule == OUTSIDE_MAP:
        return "and nobody can accept it: the row has no class (map it under labels.schemes, params.yaml)"
    if part in Raw.columns:
        return "and nobody can accept it: later stages rely on the contract, so mend the data set's metadata"
    return "which is no rule"


class Judged(NamedTuple):
    """Reasons after people had their say."""

    holding: pd.DataFrame  # COLUMNS: still against their rows
    by_hand: pd.DataFrame  # COLUMNS, who, why: overruled
    idle: list[str]  # one line for each entry that no reason needs any more


def apply(reasons: pd.DataFrame, accepted: pd.DataFrame) -> Judged:
    """Split the reasons of `find_unusable` by the entries of `read_accepted`."""
    signed = reasons.merge(accepted, on=["image_id", "rule"], how="left").set_axis(reasons.index)
    overruled = signed["who"].notna()
    needed = set(zip(reasons["image_id"], reasons["rule"], strict=True))
    idle = [
        f"{row.image_id} {row.rule} was accepted by hand by {row.who}, but no longer needs it: take the line out"
        for row in accepted.itertuples()
        if (row.image_id, row.rule) not in needed
    ]
    return Judged(reasons[~overruled], signed[overruled], idle)


def for_sharing(reasons: pd.DataFrame) -> pd.DataFrame:
    """The reasons as they may leave this machine: without the values, which are the data set's own words."""
    return reasons[[name for name in COLUMNS if name != "value"]]


def check_share(reasons: pd.DataFrame, rows: int, at_most: float, file: str) -> None:
    """Raises DataError when more than `at_most` of all rows have reasons against them; `file` holds them all."""
    bad = reasons.index.nunique()
    if bad <= at_most * rows:
        return
    counts = ", ".join(f"{rule} {count}" for rule, count in count_rules(reasons).items())
    first = "; ".join(f"{row.image_id} {row.rule} = {row.value}" for row in reasons.head(3).itertuples())
    raise DataError(
        f"{bad} of {rows} rows cannot be used ({bad / rows:.1%}), expected at most {at_most:.1%} "
        f"(validate.max_quarantined_share, params.yaml)\nby rule: {counts}\nfirst: {first}\n"
        f"all of them with what mends each: {file}"
    )


def count_rules(reasons: pd.DataFrame) -> dict[str, int]:
    """Rule -> number of rows it is held against, by name."""
    return {str(rule): int(count) for rule, count in reasons.groupby("rule").size().sort_index().items()}
