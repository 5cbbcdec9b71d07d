"""Who learns from what: rows that belong together form a group, and a group is never divided.

The split is a pure function of records, settings and seed. A group's place within its class and source is its
hash, so the order of rows does not matter and new lesions move few of the old ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csc_array
from scipy.sparse.csgraph import connected_components

from components.base.errors import DataError, LeakError

SPLITS = ("train", "val", "test")
ATTEMPTS = 100  # orders that are tried until every class is in every split
ENOUGH = 5  # groups for each split: a class's part from one source that has fewer is not cut on its own
# Nothing may stand on both sides of these; the unlabelled images are learned from, so they count as train.
IDENTITIES = {
    "patient_id": "patient",
    "lesion_id": "lesion",
    "sha256": "image content",
    "twins": "near-duplicate of",
}
CONTENT = ("sha256", "twins")  # what the images themselves say: rows that share it are always one group
SIDES = ("train", "unlabelled", "val", "test")  # as a message names them

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def group_rows(table: pd.DataFrame, group_by: Sequence[str]) -> pd.Series:
    """The group of each row, named after its smallest image_id: rows that share any of `group_by`, bytes or twins.

    Sharing is followed all the way: a patient with two lesions is one group. A missing value joins nothing; a
    table may lack the column `twins`.
    """
    ordered = table.sort_values("image_id", kind="stable")
    edges = [_edges(ordered[column]) for column in (*group_by, *CONTENT) if column in ordered]  # each (2, E)
    ends = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(ends.shape[1], dtype=bool), (ends[0], ends[1])), shape=(len(table),) * 2)
    _, component = connected_components(graph, directed=False)  # (N,)
    _, first, owner = np.unique(component, return_index=True, return_inverse=True)
    names = ordered["image_id"].take(first).take(owner)
    return names.set_axis(ordered.index).reindex(table.index).rename("group")


def _edges(column: pd.Series) -> Ints:
    """(2, E): each row that has a value, with the first row that has the same one."""
    codes, _ = pd.factorize(column)
    rows = np.flatnonzero(codes >= 0)
    _, first = np.unique(codes[rows], return_index=True)  # codes of present values are 0, 1, 2 ...
    return np.stack([rows, rows[first[codes[rows]]]]).astype(np.int64)


def split_table(
    accepted: pd.DataFrame,
    classes: Sequence[str],
    group_by: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
) -> pd.DataFrame:
    """One row an image, sorted by image_id: image_id, label, group, split.

    Each class, and in it each source with enough groups, is cut by `fractions` (train, val, test, together 1)
    to the nearest group, and each class is in each split. An image without a label goes to `unlabelled` when
    its group may be learned from, else to `withheld`. Raises DataError for a class of fewer groups than splits.
    """
    table = _grouped(accepted, group_by)
    home = _spread(table, classes, {name: fractions[name] for name in SPLITS}, seed, group_by)
    return _columns(table.assign(split=_placed(table["label"], table["group"].map(home))))


def fold_table(
    accepted: pd.DataFrame, classes: Sequence[str], group_by: Sequence[str], folds: int, fold: int, seed: int
) -> pd.DataFrame:
    """`split_table` for one of `folds` turns, and the column `fold`, which is the same in every turn.

    Images of fold `fold` are tested, those of the next are val (the last is followed by 0), the others train: over
    the turns each image with a label is tested exactly once. A group without a label has no fold.
    """
    table = _grouped(accepted, group_by)
    shares = {f"fold {number}": 1 / folds for number in range(folds)}
    home = _spread(table, classes, shares, seed, group_by)
    number = table["group"].map(home.str.removeprefix("fold ").astype("Int64"))
    split = number.map({fold: "test", (fold + 1) % folds: "val"}).fillna("train").where(number.notna())
    return _columns(table.assign(split=_placed(table["label"], split), fold=number.astype("Int64")))


def _grouped(accepted: pd.DataFrame, group_by: Sequence[str]) -> pd.DataFrame:
    table = accepted.sort_values("image_id", kind="stable", ignore_index=True)
    return table[["image_id", "label", "source"]].assign(group=group_rows(table, group_by))


def _columns(table: pd.DataFrame) -> pd.DataFrame:
    return table[[name for name in ("image_id", "label", "group", "split", "fold") if name in table]]


def _placed(label: pd.Series, home: pd.Series) -> pd.Series:
    """The split of each image from that of its group, null for a group without any label."""
    bare = home.map({"val": "withheld", "test": "withheld"}).fillna("unlabelled")
    return home.where(label.notna(), bare).astype("str")


def _spread(
    table: pd.DataFrame, classes: Sequence[str], shares: Mapping[str, float], seed: int, group_by: Sequence[str]
) -> pd.Series:
    """Group -> part, one of `shares`; where mixed groups crowd a class out of one, another order is tried."""
    labelled = table[table["label"].isin(list(classes))]
    group, names = pd.factorize(labelled["group"])
    label = pd.Categorical(labelled["label"], categories=list(classes)).codes.astype(np.int64)
    source, sources = pd.factorize(labelled["source"], sort=True)
    strata = _count_images(group, label * (len(sources) + 1) + source, label, len(classes), len(sources))
    _check_enough_groups(strata, classes, tuple(shares), group_by)
    order = _order_strata(strata, len(classes), ENOUGH * len(shares))
    whole = strata[:, len(sources) :: len(sources) + 1]  # (G, K)
    for attempt in range(ATTEMPTS):
        rank = np.argsort([_hash(seed, attempt, name) for name in names])
        home = np.empty(len(names), dtype=np.int64)
        home[rank] = _spread_in_order(strata[rank], order, np.array(list(shares.values())))
        if _every_class_everywhere(whole, home, len(shares)):
            return pd.Series(np.array(list(shares), dtype=object)[home], index=names).astype("str")
    raise DataError(
        f"no split in {ATTEMPTS} tries has every class in each of {', '.join(shares)}: too many groups "
        "hold several rare classes; change split.seed or split.group_by (params.yaml), or add images"
    )


def _count_images(group: Ints, cell: Ints, label: Ints, classes: int, sources: int) -> csc_array:
    """(G, K * (S + 1)) images: of each class first a column a source, then one for all its images."""
    whole = label * (sources + 1) + sources
    rows, columns = np.concatenate([group, group]), np.concatenate([cell, whole])
    shape = (int(group.max(initial=-1)) + 1, classes * (sources + 1))
    images = coo_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape)
    return csc_array(images)  # adds up what stands in one place


def _order_strata(strata: csc_array, classes: int, enough: int) -> Ints:
    """The columns that are cut, in order: the rarest class first, of each its sources of `enough` groups, then all.

    The last takes what the small ones left, to where the class as a whole needs it.
    """
    groups = np.diff(strata.indptr).reshape(classes, -1)  # (K, S + 1)
    order = []
    for name in np.argsort(groups[:, -1], kind="stable"):
        large = [column for column in np.argsort(groups[name, :-1], kind="stable") if groups[name, column] >= enough]
        order += [name * groups.shape[1] + column for column in (*large, groups.shape[1] - 1)]
    return np.array(order, dtype=np.int64)


def _check_enough_groups(
    strata: csc_array, classes: Sequence[str], parts: Sequence[str], group_by: Sequence[str]
) -> None:
    groups = np.diff(strata.indptr).reshape(len(classes), -1)[:, -1]
    for name, count in zip(classes, groups, strict=True):
        if count < len(parts):
            raise DataError(
                f"class {name} has {count} groups by {' and '.join(group_by)}, "
                f"expected at least {len(parts)}, one for each of {', '.join(parts)}: "
                "add images, or map its diagnoses to another class in labels.schemes (params.yaml)"
            )


def _spread_in_order(strata: csc_array, order: Ints, shares: Floats) -> Ints:
    """(G,) the part of each group; a group of several strata goes where the first of them in `order` needs it."""
    home = np.full(strata.shape[0], -1)
    for column in order:
        here = slice(strata.indptr[column], strata.indptr[column + 1])
        rows = np.sort(strata.indices[here])
        images = strata.data[here][np.argsort(strata.indices[here])]
        own = home[rows] < 0
        placed = np.bincount(home[rows[~own]], weights=images[~own], minlength=len(shares))
        wanted = shares * images.sum() - placed  # (P,) images
        if own.any():
            home[rows[own]] = _cut(images[own], wanted.clip(min=0))
    return home


def _every_class_everywhere(whole: csc_array, home: Ints, parts: int) -> bool:
    owner = np.repeat(np.arange(whole.shape[1]), np.diff(whole.indptr))
    return bool(np.unique(owner * parts + home[whole.indices]).size == whole.shape[1] * parts)


def _hash(seed: int, attempt: int, group: str) -> str:
    return hashlib.sha256(f"{seed}:{attempt}:{group}".encode()).hexdigest()


def _cut(sizes: Ints, wanted: Floats) -> Ints:
    """The part of each group of one stratum, in the order given: by where the middle of its images falls."""
    parts = len(wanted)
    middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()  # (n,) in (0, 1)
    ends = np.searchsorted(middle, np.cumsum(wanted / wanted.sum())[:-1])  # (P - 1,)
    if len(sizes) >= parts:  # small strata: at least one group each
        steps = np.arange(1, parts)
        ends = np.maximum.accumulate(np.maximum(ends - steps, 0)) + steps
        ends = np.minimum(ends, len(sizes) - steps[::-1])
    return np.repeat(np.arange(parts), np.diff(ends, prepend=0, append=len(sizes)))


def prove_no_leak(table: pd.DataFrame, accepted: pd.DataFrame, group_by: Sequence[str]) -> None:
    """Raises LeakError where a patient, a lesion or an image, exactly or nearly, stands on two sides, whoever split.

    Unlabelled images are learned from in pretraining: they stand on the side of train.
    """
    known = accepted.assign(side=accepted["image_id"].map(table.set_index("image_id")["split"]))
    known = known[known["side"].isin(SIDES)].sort_values("image_id", kind="stable")  # withheld are used nowhere
    for column, noun in IDENTITIES.items():
        crossing = _crossing(known[column], known["side"])
        if crossing.any():
            raise LeakError(_leak(noun, known[crossing], column, group_by))


def _crossing(identity: pd.Series, side: pd.Series) -> pd.Series:
    """The rows whose identity stands on two sides or more."""
    codes, values = pd.factorize(identity)
    sides = side.map({"train": 0, "unlabelled": 0, "val": 1, "test": 2}).to_numpy(np.int64)
    present = np.bincount((codes * 3 + sides)[codes >= 0], minlength=3 * len(values)).reshape(-1, 3) > 0
    crosses = np.append(present.sum(axis=1) > 1, False)  # the last one answers for the code -1, nothing
    return pd.Series(crosses[codes], index=identity.index)


def _leak(noun: str, rows: pd.DataFrame, column: str, group_by: Sequence[str]) -> str:
    """Which of the crossing `rows` it is, where they stand, how many more, and the mend."""
    name, others = rows[column].min(), rows[column].nunique() - 1
    first = rows[rows[column] == name].drop_duplicates("side").set_index("side")["image_id"]
    *firsts, last = [side for side in SIDES if side in first]
    more = f" ({others} more like it)" if others else ""
    mendable = column not in group_by and column not in CONTENT
    mend = f"split.group_by lacks {column} (params.yaml)" if mendable else "run `dvc repro -f split`"
    images = ", ".join(f"{first[side]} ({side})" for side in (*firsts, last))
    return f"{noun} {name} is in {', '.join(firsts)} and {last}{more}: {mend}; images {images}"


def prove_external(
    name: str, external: pd.DataFrame, accepted: pd.DataFrame, table: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    """Raises LeakError where the external test set `name` holds what was learned from or chosen on.

    `external` and `accepted` have Accepted's columns, `table` is the split. `pairs` (first, second: image_id) are
    near-duplicates, one of each set, in either order. Images of `withheld` are nobody's teachers; those of `test` are
    not either, but a drop between two sets that share lesions would compare them with themselves.
    """
    used = accepted.assign(side=accepted["image_id"].map(table.set_index("image_id")["split"]))
    used = used[used["side"].isin(["train", "unlabelled", "val", "test"])].sort_values("image_id", kind="stable")
    for noun, verb, meets in _overlaps(external, used, pairs):
        if len(meets):
            raise LeakError(_overlap(name, noun, verb, meets.sort_values(["what", "image_id"], kind="stable")))


def _overlaps(external: pd.DataFrame, used: pd.DataFrame, pairs: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Noun, verb and rows of each kind of overlap: what (of the external set) meets image_id (ours), on which side."""
    ours, theirs = used[["image_id", "side"]], external[["image_id", "sha256"]].rename(columns={"image_id": "what"})
    exact = theirs.merge(used[["sha256", "image_id", "side"]], on="sha256")
    ends = pairs[["first", "second"]].set_axis(["what", "image_id"], axis=1)
    ends = pd.concat([ends, ends.rename(columns={"what": "image_id", "image_id": "what"})])
    near = ends[ends["what"].isin(external["image_id"])].merge(ours, on="image_id")
    same = [
        used[used[column].isin(external[column].dropna())].rename(columns={column: "what"})
        for column in ("patient_id", "lesion_id")
    ]
    return [
        ("image", "has the content of", exact),
        ("image", "is a near-duplicate of", near),
        ("patient", "is that of", same[0]),
        ("lesion", "is that of", same[1]),
    ]


def _overlap(name: str, noun: str, verb: str, meets: pd.DataFrame) -> str:
    row, count = meets.iloc[0], meets["what"].nunique()
    more = f" ({count - 1} more like it)" if count > 1 else ""
    test = row["side"] == "test"
    wrong = "a drop between the two would compare it with itself" if test else "a test on it would measure memory"
    return (
        f"external test set {name}: {noun} {row['what']} {verb} image {row['image_id']}, which is in "
        f"{row['side']}{more}: {wrong}; take these out of {name} (external, params.yaml) or "
        "out of the data set that is learned from"
    )
