"""Splits into train, val and test: rows that belong together form a group, and a group is never divided.

The split is a pure function of records, settings and seed. Groups are ordered by their hash within class and source, so
that the order of rows does not matter and new lesions move few of the old ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csc_array
from scipy.sparse.csgraph import connected_components

from components.base.errors import DataError
from components.data.records import CONTENT, LABELLED_SPLITS

ATTEMPTS = 100
"""Orders of the groups that are tried until every class is in every split."""

GROUPS_PER_SPLIT = 5
"""A source with fewer groups of a class than this for each split is not stratified on its own."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def group_rows(table: pd.DataFrame, group_by: Sequence[str]) -> pd.Series:
    """The group of each row: the connected components of rows that share an id or image content.

    Args:
        table: with image_id, `group_by`, sha256 and, unless near-duplicates are unknown, twins.
        group_by: columns of ids, patient_id, lesion_id or both; a null is shared with no row.

    Returns:
        Text indexed as `table`: the smallest image_id of the group. Lesions of one patient are one group, and so on.
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
    """(2, E) edges of a graph over rows: each row with a value, and the first row with the same value."""
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
    kept: pd.Series | None = None,
) -> pd.DataFrame:
    """One split by shares, stratified by class and source.

    Args:
        accepted: with the columns of Accepted.
        classes: target classes; each is in each of train, val and test.
        group_by: columns of ids whose rows stay together, see `group_rows`.
        fractions: train, val and test -> share of the images of each class, sum 1; met to the nearest group, also
            within each source that has enough groups.
        seed: of the order of groups.
        kept: group -> train, val or test, for groups that are placed already; the others are drawn so that with them
            the shares are met. None: all are drawn.

    Returns:
        One row an image, sorted by image_id: image_id, label, group, split. An image without a label is `unlabelled`
        where its group may be used in training, otherwise `withheld`.

    Raises:
        DataError: where a class has fewer groups than splits, or no order puts every class into every split.
    """
    table = _grouped(accepted, group_by)
    home = _spread(table, classes, {name: fractions[name] for name in LABELLED_SPLITS}, seed, group_by, kept)
    if kept is not None:
        home = kept.combine_first(home)  # also of groups without any label
    return _columns(table.assign(split=_placed(table["label"], table["group"].map(home))))


def fold_table(
    accepted: pd.DataFrame, classes: Sequence[str], group_by: Sequence[str], *, folds: int, fold: int, seed: int
) -> pd.DataFrame:
    """One split of a cross-validation, stratified as `split_table`.

    Args:
        accepted: with the columns of Accepted.
        classes: target classes; each is in each fold.
        group_by: columns of ids whose rows stay together, see `group_rows`.
        folds: number of folds.
        fold: the fold that is tested, from 0; the next one is val (0 follows the last), the others are train.
        seed: of the order of groups.

    Returns:
        `split_table` with the column fold, which does not depend on the argument `fold`, so that over all folds each
        image with a label is tested once. A group without a label has no fold.

    Raises:
        DataError: where a class has fewer groups than folds, or no order puts every class into every fold.
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
    """The split of each image; `home` is that of its group, null for a group without any label."""
    bare = home.map({"val": "withheld", "test": "withheld"}).fillna("unlabelled")
    return home.where(label.notna(), bare).astype("str")


def _spread(
    table: pd.DataFrame,
    classes: Sequence[str],
    shares: Mapping[str, float],
    seed: int,
    group_by: Sequence[str],
    kept: pd.Series | None = None,
) -> pd.Series:
    """Group -> part, one of `shares`; another order is tried where groups of several classes leave a class out."""
    labelled = table[table["label"].isin(list(classes))]
    group, names = pd.factorize(labelled["group"])
    label = pd.Categorical(labelled["label"], categories=list(classes)).codes.astype(np.int64)
    source, sources = pd.factorize(labelled["source"], sort=True)
    strata = _count_images(group, label * (len(sources) + 1) + source, label, len(classes), len(sources))
    _check_enough_groups(strata, classes, tuple(shares), group_by)
    order = _order_strata(strata, len(classes), GROUPS_PER_SPLIT * len(shares))
    whole = strata[:, len(sources) :: len(sources) + 1]  # (G, K)
    placed = _places_of(names, tuple(shares), kept)  # (G,)
    for attempt in range(ATTEMPTS):
        rank = np.argsort([_hash(seed, attempt, name) for name in names])
        home = np.empty(len(names), dtype=np.int64)
        home[rank] = _spread_in_order(strata[rank], order, np.array(list(shares.values())), placed[rank])
        if _every_class_everywhere(whole, home, len(shares)):
            return pd.Series(np.array(list(shares), dtype=object)[home], index=names).astype("str")
    raise DataError(
        f"no split in {ATTEMPTS} tries has every class in each of {', '.join(shares)}: too many groups "
        "hold several rare classes; change split.seed or split.group_by (params.yaml), or add images"
        + ("; split.keep leaves only new lesions to be drawn" if kept is not None else "")
    )


def _places_of(names: pd.Index, parts: Sequence[str], kept: pd.Series | None) -> Ints:
    """(G,) the number of the part that a group is kept in, -1 where it is drawn."""
    if kept is None:
        return np.full(len(names), -1)
    return np.asarray(pd.Index(parts).get_indexer(pd.Index(kept.reindex(names))), dtype=np.int64)


def _count_images(group: Ints, cell: Ints, label: Ints, classes: int, sources: int) -> csc_array:
    """(G, K * (S + 1)) number of images: for each class one column a source, then one for all its images."""
    whole = label * (sources + 1) + sources
    rows, columns = np.concatenate([group, group]), np.concatenate([cell, whole])
    shape = (int(group.max(initial=-1)) + 1, classes * (sources + 1))
    images = coo_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape)
    return csc_array(images)  # sums entries with the same row and column


def _order_strata(strata: csc_array, classes: int, enough: int) -> Ints:
    """The columns that are divided, in order: the rarest class first; of each class its sources, then all its images.

    Only sources of at least `enough` groups; the column of all images then places the groups of the small sources.
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


def _spread_in_order(strata: csc_array, order: Ints, shares: Floats, kept: Ints) -> Ints:
    """(G,) the part of each group; a group of several strata goes where the first of them in `order` lacks images.

    A group that is `kept` somewhere, not -1, stays there.
    """
    home = kept.copy()
    for column in order:
        here = slice(strata.indptr[column], strata.indptr[column + 1])
        rows = np.sort(strata.indices[here])
        images = strata.data[here][np.argsort(strata.indices[here])]
        own = home[rows] < 0
        placed = np.bincount(home[rows[~own]], weights=images[~own], minlength=len(shares))
        wanted = shares * images.sum() - placed  # (P,) images
        if own.any():
            everywhere = np.unique(kept[rows[kept[rows] >= 0]]).size == len(shares)
            home[rows[own]] = _cut(images[own], wanted.clip(min=0), each=not everywhere)
    return home


def _every_class_everywhere(whole: csc_array, home: Ints, parts: int) -> bool:
    owner = np.repeat(np.arange(whole.shape[1]), np.diff(whole.indptr))
    return bool(np.unique(owner * parts + home[whole.indices]).size == whole.shape[1] * parts)


def _hash(seed: int, attempt: int, group: str) -> str:
    return hashlib.sha256(f"{seed}:{attempt}:{group}".encode()).hexdigest()


def _cut(sizes: Ints, wanted: Floats, each: bool) -> Ints:
    """The part of each group of one stratum: by the position of the middle of its images, groups in the given order.

    With `each`, every part gets at least one group, where there are enough.
    """
    parts = len(wanted)
    middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()  # (n,) in (0, 1)
    ends = np.searchsorted(middle, np.cumsum(wanted / wanted.sum())[:-1])  # (P - 1,)
    if each and len(sizes) >= parts:
        steps = np.arange(1, parts)
        ends = np.maximum.accumulate(np.maximum(ends - steps, 0)) + steps
        ends = np.minimum(ends, len(sizes) - steps[::-1])
    return np.repeat(np.arange(parts), np.diff(ends, prepend=0, append=len(sizes)))
