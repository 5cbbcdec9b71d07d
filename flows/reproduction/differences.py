"""Distance of two results: zero, in the last digits of their numbers alone, or infinite where anything else differs.

The distance is max |then - now| / max(1, |then|, |now|) over all numbers: absolute below 1, relative above.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TOLERANCE = (
    1e-6  # largest distance that counts as equal; float32 resolves 6e-8, and sums of rounded numbers a little less
)
NamedArrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class ValueDifference:
    """One value in the original run (`then`) and the repeated one (`now`); None where it is absent."""

    name: str
    then: Any
    now: Any

    @property
    def distance(self) -> float:
        """Infinite where either value is not a number, so that different texts or absent values are never near."""
        if not (_is_number(self.then) and _is_number(self.now)):
            return math.inf
        return float(abs(self.then - self.now) / max(1.0, abs(self.then), abs(self.now)))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def differing_values(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[ValueDifference]:
    """The values that differ between two flat mappings, in the order of the first mapping."""
    names = dict.fromkeys([*then, *now])
    pairs = (ValueDifference(name, then.get(name), now.get(name)) for name in names)
    return [pair for pair in pairs if pair.then != pair.now or (pair.name in then) != (pair.name in now)]


def distance_of_files(then: Path, now: Path, name: str) -> float:
    """Distance of the numbers in two files, in [0, inf]; infinite where anything else differs.

    Args:
        then: the original file.
        now: the file of the repeated run.
        name: its suffix gives the format (a key of `READERS`, else infinite); files in DVC's cache have no suffix.
    """
    read = READERS.get(Path(name).suffix)
    return math.inf if read is None else distance_of_arrays(read(then), read(now))


def distance_of_arrays(then: NamedArrays, now: NamedArrays) -> float:
    """The largest distance of two sets of named arrays; integers and texts are either equal or infinitely far."""
    if list(then) != list(now):
        return math.inf
    return max((_distance(then[name], now[name]) for name in then), default=0.0)


def _distance(then: np.ndarray[Any, Any], now: np.ndarray[Any, Any]) -> float:
    if then.shape != now.shape or then.dtype != now.dtype:
        return math.inf
    if then.dtype.kind != "f":
        same = pd.Series(then.ravel()).equals(pd.Series(now.ravel()))  # two absent values count as equal
        return 0.0 if same else math.inf
    a, b = then.astype(np.float64).ravel(), now.astype(np.float64).ravel()
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return math.inf
    a, b = a[finite], b[finite]
    return float(np.max(np.abs(a - b) / np.maximum(1.0, np.maximum(np.abs(a), np.abs(b))), initial=0.0))


def _columns(table: pd.DataFrame) -> NamedArrays:
    return {str(name): table[name].to_numpy() for name in table.columns}


def _leaves(value: Any, name: str = "") -> NamedArrays:
    """Every leaf of parsed JSON by its path; integers keep the dtype object, so that they must be equal."""
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in _leaves(inner, f"{name}/{key}").items()}
    if isinstance(value, list):
        return {k: v for place, inner in enumerate(value) for k, v in _leaves(inner, f"{name}/{place}").items()}
    return {name: np.array([value], dtype=np.float64 if isinstance(value, float) else object)}


def _read_safetensors(path: Path) -> NamedArrays:
    from safetensors.numpy import load

    return dict(sorted(load(path.read_bytes()).items()))


READERS = {
    ".csv": lambda path: _columns(pd.read_csv(path)),
    ".parquet": lambda path: _columns(pd.read_parquet(path, engine="pyarrow")),
    ".json": lambda path: _leaves(json.loads(path.read_text())),
    ".npy": lambda path: {"": np.load(path, mmap_mode="r")},
    ".safetensors": _read_safetensors,
}
