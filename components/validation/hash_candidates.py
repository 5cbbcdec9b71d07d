"""Candidates for copies: pairs of images whose perceptual hashes are near, under eight turns and sixteen crops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from components.base.log import Track, untracked
from components.validation.neighbours import pairs_between, pairs_within
from components.validation.perceptual_hash import TURNS, Hashes, turned

DISTANCE = 7  # bits; chosen on the 10,015 images of HAM10000 and copies made of them
TRIES = 3  # turns and windows that are compared for one pair, nearest hash first
_WHOLE_TURNS = [turn for turn in TURNS if turn != "rot270"]  # rot270 finds what rot90 finds, in the other order


def propose(hashes: Hashes, cropped: Hashes, distance: int, track: Track = untracked) -> pd.DataFrame:
    """Pairs of images whose hashes are near, at most TRIES a pair, the nearest hash first.

    Args:
        hashes: (N,), of whole images.
        cropped: (N, 16), of the WINDOWS of each image; (N, 0) searches for copies of whole images only.
        distance: bits of 64 by which hashes may differ.
        track: shows progress, see `Log.track`.

    Returns:
        first and second (rows), distance (bits), turn (index of TURNS), window (index of WINDOWS, -1 for the whole of
        `first`), and the two rows in order as low and high.
    """
    searches = len(_WHOLE_TURNS) + len(TURNS) * bool(cropped.size)
    found: list[pd.DataFrame] = list(
        track(_each_search(hashes, cropped, distance), searches, "turns and crops searched")
    )
    table = pd.concat(found, ignore_index=True)
    low, high = table[["first", "second"]].min(axis=1), table[["first", "second"]].max(axis=1)
    table = table.assign(low=low, high=high).sort_values(["low", "high", "distance"], kind="stable")
    return table[table.groupby(["low", "high"]).cumcount() < TRIES].reset_index(drop=True)


def _each_search(hashes: Hashes, cropped: Hashes, distance: int) -> Iterator[pd.DataFrame]:
    for turn in _WHOLE_TURNS:
        yield _whole(hashes, turn, distance)
    for turn in TURNS if cropped.size else ():
        yield _parts(hashes, cropped, turn, distance)


def _whole(hashes: Hashes, turn: str, distance: int) -> pd.DataFrame:
    """Pairs of whole images; a turn that is its own inverse finds each twice, once in either order."""
    if turn == "identity":
        near = pairs_within(hashes, distance)
        return _proposal(near.first, near.second, near.distance, turn, -1)
    near = pairs_between(hashes, turned(hashes, turn), distance)
    wanted = near.first != near.second if turn == "rot90" else near.first < near.second
    return _proposal(near.first[wanted], near.second[wanted], near.distance[wanted], turn, -1)


def _parts(hashes: Hashes, cropped: Hashes, turn: str, distance: int) -> pd.DataFrame:
    """Pairs of a part of the first image and the whole of the second."""
    near = pairs_between(cropped.ravel(), turned(hashes, turn), distance)
    first, window = np.divmod(near.first, cropped.shape[1])
    wanted = first != near.second
    return _proposal(first[wanted], near.second[wanted], near.distance[wanted], turn, window[wanted])


def _proposal(first: Any, second: Any, distance: Any, turn: str, window: Any) -> pd.DataFrame:
    place = TURNS.index(turn)
    frame = {"first": first, "second": second, "distance": distance, "turn": np.int8(place), "window": window}
    return pd.DataFrame(frame).astype({"window": "int8", "distance": "int16"})
