"""What pairs of copies mean for a data set: groups that a split must keep together, contradictions, pairs to review."""

from __future__ import annotations

import pandas as pd

PAIR_COLUMNS = ("first", "second", "distance", "turn", "correlation")
"""A pair of copies: image_ids with first < second, bits between hashes, turn of the second, correlation of pixels."""

KEYS = ("label", "patient_id", "lesion_id")
"""Properties of which one picture has one value."""


def name_groups(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Each row's group of identical files and confirmed pairs, named by its smallest image_id.

    Groups are connected components: if A is a copy of B and B of C, all three are one group.

    Args:
        table: image_id and sha256.
        pairs: first and second, image_ids of `table`.

    Returns:
        With the table's index; null for a row without copies.
    """
    names = table["image_id"].to_numpy(object)
    place = {name: row for row, name in enumerate(names)}
    first_of = table.groupby("sha256", sort=False)["image_id"].transform("first")
    same = zip(table.loc[first_of.notna(), "image_id"], first_of.dropna(), strict=True)
    links = [*same, *zip(pairs["first"], pairs["second"], strict=True)]
    parent = list(range(len(names)))
    for one, other in links:
        a, b = _root(parent, place[one]), _root(parent, place[other])
        low, high = (a, b) if names[a] <= names[b] else (b, a)  # the root is the smallest name
        parent[high] = low
    group = pd.Series([names[_root(parent, row)] for row in range(len(names))], index=table.index, dtype="str")
    return group.where(group.duplicated(keep=False))


def _root(parent: list[int], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


def review(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs whose label, patient or lesion differ, for a person to review.

    One picture cannot show two patients or two lesions, nor have two diagnoses. A value that is missing on one side
    is no difference.

    Args:
        table: image_id and KEYS.
        pairs: PAIR_COLUMNS; identical files are added by `identical_pairs`.

    Returns:
        PAIR_COLUMNS, `differs` (names of KEYS) and both values of each key; sorted.
    """
    known = table.set_index("image_id")[list(KEYS)]
    sides = [known.reindex(pairs[side]).reset_index(drop=True) for side in ("first", "second")]
    different = sides[0].notna() & sides[1].notna() & (sides[0] != sides[1])
    differs = [", ".join(name for name in KEYS if row[name]) for row in different.to_dict("records")]
    values = [sides[k].add_prefix(f"{side}_") for k, side in enumerate(("first", "second"))]
    joined = pd.concat([pairs.reset_index(drop=True), *values], axis=1)
    joined.insert(len(PAIR_COLUMNS), "differs", pd.Series(differs, dtype="str"))
    return joined[different.any(axis=1)].sort_values(["first", "second"], kind="stable", ignore_index=True)


def identical_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Identical files as pairs with PAIR_COLUMNS: each with the first image_id of its content, sorted."""
    rows = exact_groups(table)
    first = rows.groupby("sha256")["image_id"].transform("min")
    later = rows["image_id"] != first
    frame = pd.DataFrame({"first": first[later], "second": rows.loc[later, "image_id"]})
    frame = frame.assign(distance=0, turn="identity", correlation=1.0)
    return frame.astype({"turn": "str"}).sort_values(["first", "second"], ignore_index=True)


def exact_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose file is identical with another row's, sorted by sha256 and image_id; needs both columns.

    The same file under two lesions is kept: the split puts identical files into one group whatever the metadata say, so
    it costs a little variety and leaks nothing.
    """
    repeated = table["sha256"].notna() & table["sha256"].duplicated(keep=False)
    return table[repeated].sort_values(["sha256", "image_id"], kind="stable")


def contradictions(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose file has another label in another row, and `other`: those image_ids with their labels.

    No rule can decide which label is right, so none of them is kept; a copy without a label is no contradiction.
    """
    labelled = exact_groups(table).dropna(subset=["label"])
    found = labelled[labelled.groupby("sha256")["label"].transform("nunique") > 1]
    copies = {str(sha256): rows for sha256, rows in found.groupby("sha256")}
    pairs = zip(found["sha256"], found["label"], strict=True)
    others = [_others(copies[sha256], label) for sha256, label in pairs]
    return found.assign(other=pd.Series(others, index=found.index, dtype="str"))


def _others(copies: pd.DataFrame, label: str) -> str:
    """`ISIC_2 (nv), ISIC_3 (bcc)`: the copies with another label."""
    others = copies[copies["label"] != label]
    return ", ".join(f"{name} ({word})" for name, word in zip(others["image_id"], others["label"], strict=True))
