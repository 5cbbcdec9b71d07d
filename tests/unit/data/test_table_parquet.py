"""Parquet tables: every simple type as text."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.unit.data.table_files import NAMES, ROWS, read, refused


def test_parquet_gives_the_text_of_every_simple_type(tmp_path: Path):
    columns = {
        "gap": pa.array([17.0, None, 18.0]),
        "age": pa.array([45.5, float("nan"), 7.0]),
        "big": pa.array([2**60, None, 1], pa.int64()),
        "word": pa.array(["nv", "mel", None]).dictionary_encode(),
        "bytes": pa.array([b"n\xc3\xa4", None, b""]),
        "when": pa.array([date(2024, 2, 1), None, None]),
        "flag": pa.array([True, False, None]),
        "large": pa.array(["a ", "b", "c"], pa.large_string()),
        "nothing": pa.nulls(3),
    }
    pq.write_table(pa.table({**columns, "image": pa.array([{"bytes": b"\xff"}] * 3)}), tmp_path / "t.parquet")
    found, _ = read(tmp_path / "t.parquet", list(columns))
    assert found == [
        ["17", "45.5", "1152921504606846976", "nv", "nä", "2024-02-01", "True", "a", None],
        [None, None, None, "mel", None, None, "False", "b", None],
        ["18", "7", "1", None, None, None, None, "c", None],
    ]
    assert "column 'image' are of the type struct" in str(refused(tmp_path / "t.parquet", ["image"]))


def test_parquet_of_pandas_and_with_a_name_twice(tmp_path: Path):
    pd.DataFrame(ROWS, columns=NAMES).to_parquet(tmp_path / "t.pq")
    assert read(tmp_path / "t.pq", ["patient", "image"])[0] == [[row[2], row[0]] for row in ROWS]
    pq.write_table(pa.table([["a"], ["x"], ["b"]], names=["id", "dx", "id"]), tmp_path / "d.parquet")
    assert read(tmp_path / "d.parquet", ["dx"])[0] == [["x"]]
    assert "has the column 'id' twice" in str(refused(tmp_path / "d.parquet", ["dx", "id"]))
    pq.write_table(pa.table({"id": pa.array([b"\xff\xfe"])}), tmp_path / "b.parquet")
    assert "bytes that are not text" in str(refused(tmp_path / "b.parquet", ["id"]))
