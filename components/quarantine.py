"""Which rows cannot be used, why, and what mends them: every rule about single images in one place."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from components.duplicates import contradictions
from components.errors import DataError
from components.records import failures

Text = str | pd.Series

COLUMNS = ("image_id", "rule", "value", "expected", "mend")

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
}


def find_unusable(records: pd.DataFrame, facts: pd.DataFrame, classes: Sequence[str], min_side: int) -> pd.DataFrame:
    """Every reason against every row: COLUMNS, with the row's index in `records`, sorted by image and rule.

    `records` is Raw's table with `label` filled, `facts` one row of scan.Facts a path.
    """
    seen = records.merge(facts, on="path", how="left").set_axis(records.index)
    found = [_contract(records), _labels(records, classes), _images(seen), _small(seen, min_side)]
    table = pd.concat([*found, _duplicates(seen)])[list(COLUMNS)]
    return table.sort_values(["image_id", "rule", "value"], kind="stable").astype("str")


def _reasons(rows: pd.DataFrame, rule: Text, value: Text, expected: Text, mend: Text) -> pd.DataFrame:
    """One reason for each of `rows`; each argument is one text or one a row."""
    return rows[["image_id"]].assign(rule=rule, value=value, expected=expected, mend=mend)


def _contract(records: pd.DataFrame) -> pd.DataFrame:
    return failures(records).assign(mend="mend the value in the data set's metadata, or take the row out")


def _labels(records: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    rows = records[records["diagnosis"].notna() & records["label"].isna()]
    expected = f"a diagnosis of one of the classes {', '.join(classes)}"
    mend = "map it under labels.schemes (params.yaml), or take the row out"
    return _reasons(rows, "diagnosis.outside_map", rows["diagnosis"], expected, mend)


def _images(seen: pd.DataFrame) -> pd.DataFrame:
    rows = seen[seen["problem"].notna()]
    expected, mend = (rows["problem"].map(lambda word, part=part: IMAGES[word][part]) for part in (0, 1))
    return _reasons(rows, "image." + rows["problem"], rows["path"] + ": " + rows["detail"], expected, mend)


def _small(seen: pd.DataFrame, min_side: int) -> pd.DataFrame:
    rows = seen[seen[["width", "height"]].min(axis=1).lt(min_side).fillna(False)]
    value = rows["width"].astype("str") + " x " + rows["height"].astype("str") + " pixels"
    mend = "take the row out, or lower validate.min_side (params.yaml)"
    return _reasons(rows, "image.too_small", value, f"at least {min_side} pixels a side", mend)


def _duplicates(seen: pd.DataFrame) -> pd.DataFrame:
    rows = contradictions(seen)
    value = rows["label"] + ", but the same file is " + rows["other"]
    mend = "find out which label is right and take the other rows out"
    return _reasons(rows, "image.duplicate_with_other_label", value, "one label a file", mend)


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
