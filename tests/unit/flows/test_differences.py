"""Two results are equal to the last bit, near in their numbers, or different."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from flows.reproduction.differences import TOLERANCE, ValueDifference, differing_values, distance_of_files

TABLE = pd.DataFrame({"image_id": ["a", "b", None], "count": [1, 2, 3], "p": [0.25, 0.5, np.nan]})


def test_differing_values_are_named_in_order() -> None:
    then, now = {"loss": 0.5, "kept": 1, "gone": 2}, {"kept": 1, "loss": 0.75, "new": None}
    found = differing_values(then, now)
    assert [(each.name, each.then, each.now) for each in found] == [
        ("loss", 0.5, 0.75), ("gone", 2, None), ("new", None, None)
    ]  # fmt: skip
    assert [each.distance for each in found] == [0.25, math.inf, math.inf]


def test_distance_is_absolute_below_one_and_relative_above() -> None:
    assert ValueDifference("x", 1e-9, 3e-9).distance == pytest.approx(2e-9)
    assert ValueDifference("x", 1e6, 1e6 + 1).distance == pytest.approx(1e-6, rel=1e-5)
    assert ValueDifference("x", True, False).distance == math.inf


def write(path: Path, table: pd.DataFrame) -> Path:
    """The same values in every format that carries them."""
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    elif path.suffix == ".json":
        path.write_text(json.dumps({"rows": [table["count"].tolist(), table["p"].fillna(0.0).tolist()]}))
    elif path.suffix == ".npy":
        np.save(path, table["p"].to_numpy())
    else:
        save_file({name: table[name].to_numpy() for name in ("count", "p")}, path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json", ".npy", ".safetensors"])
def test_only_last_digits_are_near(tmp_path: Path, suffix: str) -> None:
    def distance(**columns: Any) -> float:
        now = write(tmp_path / f"now{suffix}", TABLE.assign(**columns))
        return distance_of_files(then, now, f"any{suffix}")

    then = write(tmp_path / f"then{suffix}", TABLE)
    assert distance() == 0
    assert 0 < distance(p=TABLE["p"] + 1e-9) < TOLERANCE
    assert distance(p=TABLE["p"] + 0.125) == pytest.approx(0.125)
    if suffix != ".npy":
        assert distance(count=[1, 2, 4]) == math.inf  # integers are equal or not


def test_texts_rows_and_absent_numbers_are_never_near(tmp_path: Path) -> None:
    then = write(tmp_path / "then.parquet", TABLE)
    for other in (
        TABLE.assign(image_id=["a", "c", None]),
        TABLE.head(2),
        TABLE.assign(p="0.25"),
        TABLE.assign(p=[0.25, 0.5, np.inf]),
    ):
        assert distance_of_files(then, write(tmp_path / "now.parquet", other), "p.parquet") == math.inf
    page = tmp_path / "page.html"
    page.write_text("one")
    assert distance_of_files(page, page, page.name) == math.inf  # pages have no numbers to compare
