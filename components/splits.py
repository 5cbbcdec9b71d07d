"""Who learns from what: rows that belong together form a group, and a group is never divided.

The split is a pure function of records, settings and seed. A group's place within its class is its hash, so
the order of rows does not matter and new lesions move few of the old ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.errors import DataError, LeakError

SPLITS = ("train", "val", "test")
ATTEMPTS = 100  # orders that are tried until every class is in every split
# Nothing may stand on both sides of these; the unlabelled images are learned from, so they count as train.
IDENTITIES = {"patient_id": "patient", "lesion_id": "lesion", "sha256": "image content"}

Ints = np.ndarray[Any, np.dtype[np.int64]]


def group_rows(table: pd.DataFrame, group_by: Sequence[str]) -> pd.Series:
    """The group of each row, named after its smallest image_id: rows that share bytes or any of `group_by`.

    Sharing is followed all the way: a patient with two lesions is one group. A missing value joins nothing.
    """
    ordered = table.sort_values("image_id", kind="stable")
    edges = [_edges(ordered[column]) for column in (*group_by, "sha256")]  # each (2, E)
    ends = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(ends.shape[1], dtype=bool), (ends[0], ends[1])), shape=(len(table),) * 2)
    _, component = connected_components(graph, directed=False)  # (N,)
    names = ordered.groupby(component)["image_id"].transform("first")
    return names.reindex(table.index).rename("group")


def _edges(column: pd.Series) -> Ints:
    """(2, E): each row that has a value, with the first row that has the same one."""
    codes, _ = pd.factorize(column)
    rows = np.flatnonzero(codes >= 0)
    _, first = np.unique(codes[rows], return_index=True)  # codes of present values are 0, 1, 2 ...
    return np.stack([rows, rows[first[codes[rows]]]]).astype(np.int64)


def count_groups(table: pd.DataFrame, classes: Sequence[str], group_by: Sequence[str]) -> dict[str, int]:
    """Class -> number of groups that have a row of it; 0 for a class without any."""
    counts = group_rows(table, group_by).groupby(table["label"]).nunique()
    return {name: int(counts.get(name, 0)) for name in classes}


def split_table(
    accepted: pd.DataFrame,
    classes: Sequence[str],
    group_by: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
) -> pd.DataFrame:
    """One row an image, sorted by image_id: image_id, label, group, split.

    Each class is cut by `fractions` (train, val, test, together 1) to the nearest group, and is in each.
    An image without a label goes to `unlabelled` when its group may be learned from, else to `withheld`.
    Raises DataError for a class of fewer groups than splits.
    """
    table = accepted.sort_values("image_id", kind="stable", ignore_index=True)
    table = table[["image_id", "label"]].assign(group=group_rows(table, group_by))
    members = table.pivot_table(index="group", columns="label", values="image_id", aggfunc="count", fill_value=0)
    members = members.reindex(columns=list(classes), fill_value=0)  # (G, K) images
    _check_enough_groups(members, group_by)
    home = _spread(members, fractions, seed)  # group -> split
    split = table["group"].map(home).astype("str")
    bare = table["label"].isna()
    split[bare] = split[bare].map({"val": "withheld", "test": "withheld"}).fillna("unlabelled")
    return table.assign(split=split)


def _check_enough_groups(members: pd.DataFrame, group_by: Sequence[str]) -> None:
    for name, count in (members > 0).sum().items():
        if count < len(SPLITS):
            raise DataError(
                f"class {name} has {count} groups by {' and '.join(group_by)}, "
                f"expected at least {len(SPLITS)}, one for each of {', '.join(SPLITS)}: "
                "add images, or map its diagnoses to another class in labels.schemes (params.yaml)"
            )


def _spread(members: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> pd.Series:
    """Group -> split; where mixed groups crowd a class out of a split, another order is tried."""
    for attempt in range(ATTEMPTS):
        rank = [_hash(seed, attempt, str(group)) for group in members.index]
        home = _spread_in_order(members.iloc[np.argsort(rank)], fractions)
        if (members.groupby(home).sum().reindex(SPLITS, fill_value=0) > 0).all(axis=None):
            return home
    raise DataError(
        f"no split in {ATTEMPTS} tries has every class in each of {', '.join(SPLITS)}: too many groups "
        "hold several rare classes; change split.seed or split.group_by (params.yaml), or add images"
    )


def _spread_in_order(members: pd.DataFrame, fractions: Mapping[str, float]) -> pd.Series:
    """Group -> split for (G, K) images; a group of several classes goes where the rarest of them needs it."""
    by_rarity = (members > 0).sum().sort_values(kind="stable").index
    stratum = (members[by_rarity] > 0).idxmax(axis=1)  # (G,)
    home = pd.Series(index=members.index, dtype="str")
    for name in by_rarity:
        images = members[name]  # (G,)
        placed = images.groupby(home).sum().reindex(SPLITS, fill_value=0).to_numpy()
        wanted = np.array([fractions[split] for split in SPLITS]) * images.sum() - placed  # (3,) images
        own = stratum[stratum == name].index
        if len(own):
            home[own] = _cut(images[own].to_numpy(), wanted.clip(min=0))
    return home


def _hash(seed: int, attempt: int, group: str) -> str:
    return hashlib.sha256(f"{seed}:{attempt}:{group}".encode()).hexdigest()


def _cut(sizes: Ints, wanted: np.ndarray[Any, np.dtype[np.float64]]) -> list[str]:
    """The split of each group of one class, in the order given: by where the middle of its images falls."""
    middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()  # (n,) in (0, 1)
    first, second = np.searchsorted(middle, np.cumsum(wanted / wanted.sum())[:2])
    if len(sizes) >= len(SPLITS):  # small classes: at least one group each
        first = min(max(first, 1), len(sizes) - 2)
        second = min(max(second, first + 1), len(sizes) - 1)
    return np.repeat(SPLITS, [first, second - first, len(sizes) - second]).tolist()


def prove_no_leak(table: pd.DataFrame, accepted: pd.DataFrame, group_by: Sequence[str]) -> None:
    """Raises LeakError where a patient, a lesion or equal bytes stand on two sides, whoever split them."""
    sides = table.set_index("image_id")["split"].replace({"unlabelled": "train"})
    known = accepted.assign(side=accepted["image_id"].map(sides))
    known = known[known["side"].isin(SPLITS)]  # withheld images are used nowhere
    for column, noun in IDENTITIES.items():
        crossing = known.dropna(subset=[column]).groupby(column)["side"].unique()
        crossing = crossing[crossing.map(len) > 1]
        if len(crossing):
            raise LeakError(_leak(noun, crossing, column, group_by))


def _leak(noun: str, crossing: pd.Series, column: str, group_by: Sequence[str]) -> str:
    name, sides = min(crossing.items())
    *firsts, last = [side for side in SPLITS if side in sides]
    where = f"{', '.join(firsts)} and {last}"
    more = f" ({len(crossing) - 1} more like it)" if len(crossing) > 1 else ""
    mendable = column not in group_by and column != "sha256"
    mend = f"split.group_by lacks {column} (params.yaml)" if mendable else "run `dvc repro -f split`"
    return f"{noun} {name} is in {where}{more}: {mend}"
