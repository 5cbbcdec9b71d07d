"""Copies of one picture in a data set: candidates by perceptual hash, confirmed on pixels.

A copy may be rescaled, recompressed, brighter, turned, mirrored and cropped. `hash_candidates` proposes pairs,
`pixel_agreement` compares their pixels, `duplicate_groups` says what the pairs mean. Identical files are found by their
sha256 and are not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.base.log import Track, untracked
from components.data.sources import read_bytes
from components.validation.duplicate_groups import PAIR_COLUMNS
from components.validation.hash_candidates import DISTANCE, propose
from components.validation.image_facts import decode
from components.validation.perceptual_hash import TURNS, WINDOWS, Hashes, Pixels, crop_hashes, turn_pixels
from components.validation.pixel_agreement import CORRELATION, DETAIL, PixelAgreement, agree, shrink

BATCH = 64  # candidates that a worker compares at a time


@dataclass(frozen=True)
class CopyCandidate:
    """`second` after `turn` may be the part of `first` inside `window`; both are paths."""

    first: str
    second: str
    turn: str
    window: tuple[float, float, float, float]  # share cut off at top, bottom, left, right


@dataclass(frozen=True)
class KnownPairs:
    """Result of an earlier search: the sha256 of every file in it, and its pairs by sha256 instead of image_id."""

    files: frozenset[str]
    pairs: pd.DataFrame  # PAIR_COLUMNS

    @classmethod
    def of(cls, table: pd.DataFrame, pairs: pd.DataFrame) -> KnownPairs:
        """From the table and the result of `find_pairs`."""
        content = table.set_index("image_id")["sha256"]
        by_content = pairs.assign(first=pairs["first"].map(content), second=pairs["second"].map(content))
        return cls(frozenset(table.dropna(subset=["phash"])["sha256"]), by_content)

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> KnownPairs:
        """The inverse of `to_table`."""
        alone = table["second"].isna()
        return cls(frozenset(table.loc[alone, "first"]), table[~alone].astype({"distance": "int64"}))

    def to_table(self) -> pd.DataFrame:
        """PAIR_COLUMNS: one row for each file, with `first` only, and one for each pair."""
        files = pd.DataFrame({"first": sorted(self.files)}, columns=list(PAIR_COLUMNS))
        kinds = {"first": "str", "second": "str", "distance": "Int64", "turn": "str", "correlation": "float64"}
        return pd.concat([files.astype(kinds), self.pairs.astype(kinds)], ignore_index=True)

    def named(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The pairs of files that are both in `rows`, by image_id."""
        name = rows.set_index("sha256")["image_id"]
        pairs = self.pairs[self.pairs["first"].isin(name.index) & self.pairs["second"].isin(name.index)]
        return _ordered(pairs.assign(first=pairs["first"].map(name), second=pairs["second"].map(name)))


def find_pairs(
    table: pd.DataFrame,
    root: Path,
    *,
    distance: int = DISTANCE,
    crops: bool = True,
    executor: Executor | None = None,
    known: KnownPairs | None = None,
    track: Track = untracked,
) -> pd.DataFrame:
    """The pairs of rows that show one picture; identical files are left out.

    Of more than `neighbours.COPIES` images with one hash, each is compared with the first of them only.

    Args:
        table: image_id, path, sha256 and phash, one row an image; also `crop_hashes` (16 * 8 bytes, little-endian)
            if it is there, else the images are read for them.
        root: the folder of the paths.
        distance: bits of 64 by which hashes of candidates may differ.
        crops: also find copies of a part of an image.
        executor: where pixels are compared; None: this process.
        known: of an earlier search with the same settings and code; its files are not compared again.
        track: shows progress, see `Log.track`.

    Returns:
        PAIR_COLUMNS, sorted by first and second.
    """
    rows = table.dropna(subset=["phash"]).sort_values("image_id", kind="stable")
    rows = rows.drop_duplicates("sha256").reset_index(drop=True)
    if known is not None and rows["sha256"].isin(known.files).all():
        return _sorted(known.named(rows))
    hashes = rows["phash"].to_numpy(np.uint64)
    cropped = _crop_hashes(rows, root, executor, track) if crops else np.zeros((len(rows), 0), np.uint64)
    proposed = propose(hashes, cropped, distance, track)
    if known is not None:
        compared = rows["sha256"].isin(known.files).to_numpy()
        proposed = proposed[~(compared[proposed["low"]] & compared[proposed["high"]])]
    confirmed = confirm(proposed, rows["path"].tolist(), root, executor, track)
    found = _named(confirmed, rows["image_id"].to_numpy())
    return found if known is None else _sorted(pd.concat([found, known.named(rows)]))


def confirm(
    proposed: pd.DataFrame, paths: Sequence[str], root: Path, executor: Executor | None, track: Track = untracked
) -> pd.DataFrame:
    """The candidates that the pixels confirm, with `correlation`: of each pair the best turn and window."""
    pairs = zip(*(proposed[name].tolist() for name in ("first", "second", "turn", "window")), strict=True)
    candidates = [
        CopyCandidate(paths[a], paths[b], TURNS[turn], WINDOWS[window] if window >= 0 else (0, 0, 0, 0))
        for a, b, turn, window in pairs
    ]
    tasks = [candidates[begin : begin + BATCH] for begin in range(0, len(candidates), BATCH)]
    compare = partial(_compare_all, root)
    results: Iterable[list[PixelAgreement]] = map(compare, tasks) if executor is None else executor.map(compare, tasks)
    shown = track(chain.from_iterable(results), len(candidates), "pairs of images compared")
    agreements: list[PixelAgreement] = list(shown)
    found = proposed.assign(
        correlation=np.array([each.correlation for each in agreements], np.float64),
        detail=np.array([each.detail for each in agreements], np.float64),
    )
    found = found[(found["detail"] >= DETAIL) & (found["correlation"] >= CORRELATION)]
    best = found.sort_values(["low", "high", "detail"], ascending=[True, True, False], kind="stable")
    return best.drop_duplicates(["low", "high"])


def _compare_all(root: Path, candidates: Sequence[CopyCandidate]) -> list[PixelAgreement]:
    return [_compare(root, candidate) for candidate in candidates]


def _compare(root: Path, candidate: CopyCandidate) -> PixelAgreement:
    moving, fixed = _square(root, candidate.first), _square(root, candidate.second)
    return agree(moving, turn_pixels(fixed, candidate.turn), candidate.window)


@lru_cache(maxsize=16_384)  # 4 kB each
def _square(root: Path, path: str) -> Pixels:
    """An image's luma, (SIDE, SIDE)."""
    return shrink(decode(read_bytes(root, path), "GRAY")[1])


def _crop_hashes(rows: pd.DataFrame, root: Path, executor: Executor | None, track: Track) -> Hashes:
    """(N, 16), from the table's column if it is there, else from the images."""
    if "crop_hashes" in rows:
        return np.frombuffer(b"".join(rows["crop_hashes"]), "<u8").reshape(-1, len(WINDOWS)).astype(np.uint64)
    read = partial(_read_crop_hashes, root)
    paths = rows["path"].tolist()
    found = map(read, paths) if executor is None else executor.map(read, paths, chunksize=BATCH)
    shown = track(found, len(paths), "images read for copies of parts")
    return np.array(list(shown), np.uint64).reshape(-1, len(WINDOWS))


def _read_crop_hashes(root: Path, path: str) -> Hashes:
    return crop_hashes(_square(root, path))


def _named(found: pd.DataFrame, names: Any) -> pd.DataFrame:
    """PAIR_COLUMNS of confirmed candidates, whose rows become image_ids."""
    table = pd.DataFrame(
        {
            "first": names[found["first"].to_numpy(np.int64)],
            "second": names[found["second"].to_numpy(np.int64)],
            "distance": found["distance"].to_numpy(np.int64),
            "turn": np.array(TURNS, object)[found["turn"].to_numpy(np.int64)],
            "correlation": found["correlation"].to_numpy(np.float64),
        }
    )
    return _sorted(_ordered(table.astype({"first": "str", "second": "str", "turn": "str"})))


def _ordered(pairs: pd.DataFrame) -> pd.DataFrame:
    """With the smaller image_id first; `turn` maps the second onto the first, so it is inverted where they swap."""
    swap = pairs["first"] > pairs["second"]
    undone = pairs["turn"].replace({"rot90": "rot270", "rot270": "rot90"})
    first = pairs["first"].where(~swap, pairs["second"])
    second = pairs["second"].where(~swap, pairs["first"])
    return pairs.assign(first=first, second=second, turn=pairs["turn"].where(~swap, undone))


def _sorted(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.sort_values(["first", "second"], kind="stable", ignore_index=True)
