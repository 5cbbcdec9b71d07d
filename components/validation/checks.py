"""Checks of a data set: every image is scanned, every row checked against the rules, every copy of an image found.

Results that depend only on the content of files are cached in a folder: the facts of each file, and which files were
already compared with each other.
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
from components.data.image_names import ImageNames
from components.validation import (
    duplicate_groups,
    duplicates,
    hash_candidates,
    neighbours,
    perceptual_hash,
    pixel_agreement,
    scan,
)
from components.validation.accepted_by_hand import ACCEPTED_BY_HAND, read_accepted
from components.validation.duplicate_groups import name_groups
from components.validation.duplicates import KnownPairs, find_pairs
from components.validation.missing_images import name_nearest
from components.validation.quarantine import apply_accepted, find_unusable
from components.validation.settings import NearDuplicates, Validate

PAIRS = "pairs.parquet"
OURS, THEIRS = "a/", "b/"  # in this order, so that the larger name of a pair is theirs


@dataclass(frozen=True)
class CheckedImages:
    """Rows of a data set after the checks of single images and of copies."""

    rows: pd.DataFrame  # every row: columns of Raw and ImageFacts, the index of the records
    reasons: pd.DataFrame  # quarantine.COLUMNS: why rows cannot be used; the index of the records
    overruled: pd.DataFrame  # the same with who and why: reasons that people overruled
    usable: pd.DataFrame  # rows without reasons, and `twins`: the group of copies, null without copies
    pairs: pd.DataFrame  # PAIR_COLUMNS: copies among the usable rows, identical files left out
    decoded: int  # images that were decoded, since the cache did not have them


def check_images(
    records: pd.DataFrame,
    root: Path,
    classes: Sequence[str],
    settings: Validate,
    *,
    key: bytes | None,
    executor: Executor | None,
    cache: Path | None,
    log: Log,
) -> CheckedImages:
    """Check every row and its image; a bad row becomes a reason in the result and never an exception.

    Args:
        records: Raw with `label`.
        root: the data set's folder; it may hold ACCEPTED_BY_HAND.
        classes: the labels that a model learns.
        settings: rules for single images and for copies.
        key: of the pseudonyms that image_id holds; None: image_id is the data set's own.
        executor: where images are decoded and compared; None: this process.
        cache: folder of the caches; None: no cache.
        log: progress, how many entries ACCEPTED_BY_HAND has, and a line for each that is not needed.

    Raises:
        DataError: ACCEPTED_BY_HAND cannot be read, or a worker lacks the data set's folder.
    """
    accepted = read_accepted(root / ACCEPTED_BY_HAND, ImageNames.of(records, root, key))
    if len(accepted.table):
        ways = ", ".join(f"{count} by {way}" for way, count in accepted.named_by.items())
        log.line(f"{ACCEPTED_BY_HAND}: {len(accepted.table)} entries, whose images were found {ways}")
    scanned = scan.scan(root, records["path"].tolist(), executor, log.track, cache=cache, warn=log.line)
    reasons = find_unusable(records, scanned.facts, classes, settings.min_side, settings.admit)
    reasons = name_nearest(reasons, root)
    decision = apply_accepted(reasons, accepted.table)
    for line in decision.unused:
        log.line(line)
    rows = records.merge(scanned.facts, on="path", how="left").set_axis(records.index)
    usable = rows.drop(index=decision.holding.index.unique())
    pairs = _find_pairs(usable, root, settings.near_duplicates, executor=executor, cache=cache, log=log)
    usable = usable.assign(twins=name_groups(usable, pairs))
    return CheckedImages(
        rows=rows,
        reasons=decision.holding,
        overruled=decision.overruled,
        usable=usable,
        pairs=pairs,
        decoded=scanned.decoded,
    )


def _find_pairs(
    table: pd.DataFrame,
    root: Path,
    settings: NearDuplicates,
    *,
    executor: Executor | None,
    cache: Path | None,
    log: Log,
) -> pd.DataFrame:
    """`find_pairs` among the rows; files that were compared in an earlier call are not compared again."""
    key = _key(settings)
    known = None if cache is None else _read_known(cache / PAIRS, key)
    pairs = find_pairs(
        table, root, distance=settings.distance, crops=settings.crops, executor=executor, known=known, track=log.track
    )
    if cache is not None:
        _write_known(KnownPairs.of(table, pairs), cache / PAIRS, key)
    return pairs


def find_copies_across(
    theirs: pd.DataFrame,
    their_root: Path,
    ours: pd.DataFrame,
    our_root: Path,
    *,
    settings: NearDuplicates,
    executor: Executor | None,
    log: Log,
) -> pd.DataFrame:
    """Copies between two data sets; an image_id that occurs in both is no evidence of a copy.

    Args:
        theirs: image_id, path, sha256 and phash of one data set.
        their_root: the folder of its paths.
        ours: the same of the other data set.
        our_root: the folder of its paths.
        settings: which copies are searched for.
        executor: where images are compared; None: this process.
        log: progress.

    Returns:
        first (theirs) and second (ours), image_ids.
    """
    base = Path(os.path.commonpath([their_root.resolve(), our_root.resolve()]))
    both = [_rebased(theirs, their_root, base, THEIRS), _rebased(ours, our_root, base, OURS)]
    table = pd.concat(both, ignore_index=True)
    pairs = find_pairs(
        table, base, distance=settings.distance, crops=settings.crops, executor=executor, track=log.track
    )
    ends = pd.DataFrame(
        {"first": pairs[["first", "second"]].max(axis=1), "second": pairs[["first", "second"]].min(axis=1)}
    )
    across = ends[ends["first"].str.startswith(THEIRS) & ends["second"].str.startswith(OURS)]
    ids = {name: across[name].str.removeprefix(side) for name, side in (("first", THEIRS), ("second", OURS))}
    return pd.DataFrame(ids).reset_index(drop=True)


def _rebased(table: pd.DataFrame, root: Path, base: Path, side: str) -> pd.DataFrame:
    """The rows with paths relative to `base`, and ids that start with their side."""
    below = root.resolve().relative_to(base).as_posix()
    columns = [name for name in ("sha256", "phash", "crop_hashes") if name in table]
    return table[columns].assign(image_id=side + table["image_id"], path=f"{below}/" + table["path"])


_DECIDING = (duplicate_groups, duplicates, hash_candidates, neighbours, perceptual_hash, pixel_agreement)


def _key(settings: NearDuplicates) -> str:
    """Hash of everything besides the files that decides which pairs there are: code, decoders and settings."""
    code = "".join(Path(str(module.__file__)).read_text() for module in _DECIDING)
    return hashlib.sha256(f"{scan.version()} {code} {settings.distance} {settings.crops}".encode()).hexdigest()


def _read_known(file: Path, key: str) -> KnownPairs | None:
    try:
        stored = pq.read_table(file)
    except (OSError, pa.ArrowException):  # missing or damaged: all files are compared again
        return None
    if (stored.schema.metadata or {}).get(b"dermflow.key") != key.encode():
        return None
    return KnownPairs.from_table(stored.to_pandas())


def _write_known(known: KnownPairs, file: Path, key: str) -> None:
    table = pa.Table.from_pandas(known.to_table(), preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"dermflow.key": key.encode()})
    with whole(file) as part:
        pq.write_table(table, part)
