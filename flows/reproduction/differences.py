"""How far two results are apart: to the bit, in the last digits of their numbers alone, or in what they say.

A distance is |then - now| / max(1, |then|, |now|), the largest over all numbers: absolute below 1, relative above.
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

TOLERANCE = 1e-6  # of a distance; float32 holds 6e-8, and sums of rounded numbers a little less
Named = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Difference:
    """One value of a metrics file, then and now; None where it is absent."""

    name: str
    then: Any
    now: Any

    @property
    def distance(self) -> float:
        """Infinite where either is no number, so that words, counts of another kind and gaps are never close."""
        if not (_is_number(self.then) and _is_number(self.now)):
            return math.inf
        return float(abs(self.then - self.now) / max(1.0, abs(self.then), abs(self.now)))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def differing_values(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """The values that differ between two flat mappings, in the order of the first."""
    names = dict.fromkeys([*then, *now])
    pairs = (Difference(name, then.get(name), now.get(name)) for name in names)
    return [pair for pair in pairs if pair.then != pair.now or (pair.name in then) != (pair.name in now)]


def distance_of_files(then: Path, now: Path, name: str) -> float:
    """Distance of two files with numbers in them, of the kind that `name` ends in; infinite where more differs.

    A file that is kept by its md5 alone has lost its ending, hence `name`.
    """
    read = READERS.get(Path(name).suffix)
    return math.inf if read is None else distance_of_arrays(read(then), read(now))


def distance_of_arrays(then: Named, now: Named) -> float:
    """Only floating-point numbers may be near each other: whole ones and words are equal or not."""
    if list(then) != list(now):
        return math.inf
    return max((_distance(then[name], now[name]) for name in then), default=0.0)


def _distance(then: np.ndarray[Any, Any], now: np.ndarray[Any, Any]) -> float:
    if then.shape != now.shape or then.dtype != now.dtype:
        return math.inf
    if then.dtype.kind != "f":
        same = pd.Series(then.ravel()).equals(pd.Series(now.ravel()))  # absent values equal each other
        return 0.0 if same else math.inf
    a, b = then.astype(np.float64).ravel(), now.astype(np.float64).ravel()
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return math.inf
    a, b = a[finite], b[finite]
    return float(np.max(np.abs(a - b) / np.maximum(1.0, np.maximum(np.abs(a), np.abs(b))), initial=0.0))


def _columns(table: pd.DataFrame) -> Named:
    return {str(name): table[name].to_numpy() for name in table.columns}


def _leaves(value: Any, name: str = "") -> Named:
    """Every leaf of parsed JSON by its place; whole numbers stay whole."""
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in _leaves(inner, f"{name}/{key}").items()}
    if isinstance(value, list):
        return {k: v for place, inner in enumerate(value) for k, v in _leaves(inner, f"{name}/{place}").items()}
    return {name: np.array([value], dtype=np.float64 if isinstance(value, float) else object)}


def _read_safetensors(path: Path) -> Named:
    from safetensors.numpy import load

    return dict(sorted(load(path.read_bytes()).items()))


READERS = {
    ".csv": lambda path: _columns(pd.read_csv(path)),
    ".parquet": lambda path: _columns(pd.read_parquet(path, engine="pyarrow")),
    ".json": lambda path: _leaves(json.loads(path.read_text())),
    ".npy": lambda path: {"": np.load(path, mmap_mode="r")},
    ".safetensors": _read_safetensors,
}
