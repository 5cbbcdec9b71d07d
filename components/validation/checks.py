"""One look at a data set: every image is scanned, every row judged, every copy of a picture found.

What a later look could not change is remembered in a folder, by the files' content: the facts of each, and which of
them were compared with each other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.base.files import whole
from components.base.log import Log
from components.validation import duplicates, neighbours, perceptual_hash, scan
from components.validation.quarantine import Admissible, apply, find_unusable, read_accepted

BY_HAND = "accepted_by_hand.csv"  # in the data set's folder, so that it is versioned with the images
PAIRS = "pairs.parquet"
OURS, THEIRS = "a/", "b/"  # in this order, so that the larger name of a pair is theirs


@dataclass(frozen=True)
class Rules:
    """What the images of a data set may be like, and how near a copy must come."""

    min_side: int  # pixels
    admit: Sequence[Admissible]  # problems that the whole data set may have
    distance: int  # bits of the perceptual hash
    crops: bool  # whether copies of a part are looked for, too


@dataclass(frozen=True)
class Look:
    """What one look told."""

    seen: pd.DataFrame  # every row: Raw's columns and Facts', the index of the records
    reasons: pd.DataFrame  # quarantine.COLUMNS, what still holds; the index of the records
    by_hand: pd.DataFrame  # the same with who and why: what people overruled
    good: pd.DataFrame  # rows of `seen` without reasons, and `twins`
    pairs: pd.DataFrame  # duplicates.COLUMNS: copies among the good, identical files left out
    anew: int  # images that had to be decoded


def examine(
    records: pd.DataFrame,
    root: Path,
    classes: Sequence[str],
    rules: Rules,
    executor: Executor | None,
    cache: Path | None,
    log: Log,
) -> Look:
    """Look at every row of `records` (Raw, with labels) whose images lie below `root`; nothing raises for a bad row."""
    scanned = scan.scan(root, records["path"].tolist(), executor, log.track, cache, log.line)
    reasons = find_unusable(records, scanned.facts, classes, rules.min_side, rules.admit)
    judged = apply(reasons, read_accepted(root / BY_HAND, records["image_id"].tolist()))
    for line in judged.idle:
        log.line(line)
    seen = records.merge(scanned.facts, on="path", how="left").set_axis(records.index)
    good = seen.drop(index=judged.holding.index.unique())
    pairs = find_copies(good, root, rules, executor, cache)
    good = good.assign(twins=duplicates.name_groups(good, pairs))
    return Look(seen, judged.holding, judged.by_hand, good, pairs, scanned.anew)


def find_copies(
    table: pd.DataFrame, root: Path, rules: Rules, executor: Executor | None, cache: Path | None
) -> pd.DataFrame:
    """`duplicates.find` among the rows; files that were compared before are not compared again."""
    key = _key(rules)
    settled = None if cache is None else _remembered(cache / PAIRS, key)
    pairs = duplicates.find(table, root, rules.distance, executor, rules.crops, settled)
    if cache is not None:
        _remember(duplicates.Settled.of(table, pairs), cache / PAIRS, key)
    return pairs


def find_across(
    theirs: pd.DataFrame,
    their_root: Path,
    ours: pd.DataFrame,
    our_root: Path,
    rules: Rules,
    executor: Executor | None,
) -> pd.DataFrame:
    """The copies of which one is in each of two data sets: first (theirs), second (ours), image_ids.

    Both tables have image_id, path, sha256 and phash; the same image_id in both is no sign of anything.
    """
    base = Path(os.path.commonpath([their_root.resolve(), our_root.resolve()]))
    both = [_moved(theirs, their_root, base, THEIRS), _moved(ours, our_root, base, OURS)]
    pairs = duplicates.find(pd.concat(both, ignore_index=True), base, rules.distance, executor, rules.crops)
    ends = pd.DataFrame(
        {"first": pairs[["first", "second"]].max(axis=1), "second": pairs[["first", "second"]].min(axis=1)}
    )
    across = ends[ends["first"].str.startswith(THEIRS) & ends["second"].str.startswith(OURS)]
    ids = {name: across[name].str.removeprefix(side) for name, side in (("first", THEIRS), ("second", OURS))}
    return pd.DataFrame(ids).reset_index(drop=True)


def _moved(table: pd.DataFrame, root: Path, base: Path, side: str) -> pd.DataFrame:
    """The rows as `base` sees them, their ids marked by their side."""
    below = root.resolve().relative_to(base).as_posix()
    columns = [name for name in ("sha256", "phash", "crop_hashes") if name in table]
    return table[columns].assign(image_id=side + table["image_id"], path=f"{below}/" + table["path"])


def _key(rules: Rules) -> str:
    """Hash of all that decides, besides the files, which pairs there are."""
    code = "".join(Path(str(module.__file__)).read_text() for module in (duplicates, neighbours, perceptual_hash))
    return hashlib.sha256(f"{scan.version()} {code} {rules.distance} {rules.crops}".encode()).hexdigest()


def _remembered(file: Path, key: str) -> duplicates.Settled | None:
    try:
        stored = pq.read_table(file)
    except (OSError, pa.ArrowException):  # none, or a damaged one: found again
        return None
    if (stored.schema.metadata or {}).get(b"dermflow.key") != key.encode():
        return None
    return duplicates.Settled.from_table(stored.to_pandas())


def _remember(settled: duplicates.Settled, file: Path, key: str) -> None:
    table = pa.Table.from_pandas(settled.to_table(), preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"dermflow.key": key.encode()})
    with whole(file) as part:
        pq.write_table(table, part)
