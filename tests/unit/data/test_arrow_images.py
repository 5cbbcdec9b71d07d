"""Images in rows of parquet and Arrow tables: columns, rows, missing bytes, damage, memory."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data import arrow_images, file_kinds
from components.data.arrow_images import open_rows, row_names
from components.data.file_tree import list_files, list_images
from components.data.source_error import SourceError
from components.data.sources import read_bytes
from tests.unit.data.example_data import drawn, write_rows
from tests.unit.data.shards import problem_of

FORMS = ("parquet", "arrow")


def rows_of(count: int, **more: object) -> list[dict[str, object]]:
    return [
        {"image": {"bytes": drawn(index), "path": f"{index}.jpg"}, "label": index % 2, **more} for index in range(count)
    ]


@pytest.fixture(params=FORMS)
def form(request) -> str:
    return request.param


def test_each_row_is_an_image_in_the_order_of_the_file(tmp_path: Path, form):
    write_rows(tmp_path / f"data/a.{form}", rows_of(11))
    paths = [f"data/a.{form}/{row:02d}" for row in range(11)]
    assert list_images(tmp_path) == paths
    assert [read_bytes(tmp_path, path) for path in paths] == [drawn(index) for index in range(11)]
    assert read_bytes(tmp_path, f"data/a.{form}/7") == drawn(7)


def test_a_feather_file_is_read_as_well(tmp_path: Path):
    table = pa.Table.from_pylist(rows_of(3))
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert [read_bytes(tmp_path, path) for path in list_images(tmp_path)] == [drawn(0), drawn(1), drawn(2)]


def test_a_column_can_be_named(tmp_path: Path, form):
    rows = [{**row, "mask": {"bytes": b"mask", "path": None}, "raw": b"raw"} for row in rows_of(2)]
    write_rows(tmp_path / f"a.{form}", rows)
    assert [read_bytes(tmp_path, f"a.{form}/{name}/1") for name in ("image", "mask", "raw")] == [
        drawn(1),
        b"mask",
        b"raw",
    ]
    kinds = {file.path: (file.kind, file.images) for file in list_files(tmp_path)}
    assert kinds[f"a.{form}/mask"] == (file_kinds.ARRAY, 2)
    assert list_images(tmp_path) == [f"a.{form}/0", f"a.{form}/1"]


def test_the_columns_that_datasets_describes_come_first(tmp_path: Path):
    described = '{"info": {"features": {"photo": {"_type": "Image"}, "label": {"_type": "Value"}}}}'
    rows = [{"extra": {"bytes": b"1", "path": None}, "photo": {"bytes": drawn(4), "path": None}}]
    write_rows(tmp_path / "a.parquet", rows, {"huggingface": described})
    assert read_bytes(tmp_path, "a.parquet/0") == drawn(4)


def test_rows_and_columns_that_are_not_there_are_missing(tmp_path: Path, form):
    write_rows(tmp_path / f"a.{form}", rows_of(3))
    for inside in ("3", "-1", "0.5", "²", "x", "other/0", "image/3", "image/"):
        assert problem_of(tmp_path, f"a.{form}/{inside}") == "missing", inside
    assert problem_of(tmp_path, f"a.{form}/label/0") == "unreadable"


def test_a_row_without_bytes_is_missing_and_is_told_by_its_path(tmp_path: Path, form):
    rows = rows_of(4)
    rows[2]["image"] = {"path": "c.jpg"}
    rows[3]["image"] = None
    write_rows(tmp_path / f"a.{form}", [{"image": {"bytes": drawn(0), "path": "0"}}, *rows[1:]])
    assert problem_of(tmp_path, f"a.{form}/2") == problem_of(tmp_path, f"a.{form}/3") == "missing"
    assert open_rows(tmp_path / f"a.{form}").outside("image") == {2: "c.jpg", 3: None}


def test_the_footer_of_a_parquet_file_says_that_all_bytes_are_there(tmp_path: Path, monkeypatch):
    write_rows(tmp_path / "a.parquet", rows_of(4))
    table = open_rows(tmp_path / "a.parquet")
    monkeypatch.setattr(type(table), "column", lambda *_: pytest.fail("the images were read"))
    assert table.outside("image") == {}


def test_tables_without_images_stay_tables(tmp_path: Path, form):
    write_rows(tmp_path / f"a.{form}", [{"image": "a.jpg", "label": 1}])
    assert [(file.path, file.kind) for file in list_files(tmp_path)] == [(f"a.{form}", file_kinds.TABLE)]
    assert problem_of(tmp_path, f"a.{form}/0") == "missing"


def test_a_damaged_table_is_a_source_error(tmp_path: Path, form):
    file = write_rows(tmp_path / f"a.{form}", rows_of(5))
    good, outcomes = file.read_bytes(), set()
    for seed in range(200):
        random, data = Random(seed), bytearray(good)
        for _ in range(random.choice([1, 2, 5, 20])):
            data[random.randrange(len(data))] = random.choice([0, 255, random.randrange(256)])
        file.write_bytes(data if seed % 4 else data[: random.randrange(len(data))])
        os.utime(file, ns=(seed, seed))
        list_images(tmp_path)
        try:
            read_bytes(tmp_path, f"a.{form}/3")
            outcomes.add("read")
        except SourceError as error:
            assert str(tmp_path) not in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_row_group_that_does_not_fit_in_memory_is_refused_with_the_remedy(tmp_path: Path, monkeypatch):
    write_rows(tmp_path / "a.parquet", rows_of(4))
    monkeypatch.setattr(arrow_images, "MOST_BYTES", 100)
    with pytest.raises(SourceError, match=r"a.parquet: has a row group with .* row_group_size=100"):
        read_bytes(tmp_path, "a.parquet/0")


def test_one_row_group_is_read_for_all_of_its_rows(tmp_path: Path, monkeypatch):
    pq.write_table(pa.Table.from_pylist(rows_of(100)), tmp_path / "a.parquet", row_group_size=25)
    read: list[int] = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda file, group, **more: read.append(group) or original(file, group, **more),
    )
    assert [read_bytes(tmp_path, path) for path in list_images(tmp_path)] == [drawn(index) for index in range(100)]
    assert read == [0, 1, 2, 3]


def test_threads_and_processes_read_at_once(tmp_path: Path, form):
    write_rows(tmp_path / f"a.{form}", rows_of(10))
    paths, images = [f"a.{form}/{row}" for row in range(10)], [drawn(index) for index in range(10)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(partial(read_bytes, tmp_path), paths * 5)) == images * 5
    with ProcessPoolExecutor(2, get_context("forkserver")) as processes:
        assert list(processes.map(partial(read_bytes, tmp_path), paths, chunksize=5)) == images


def test_names_of_rows_are_sorted_as_the_rows_are():
    for count in (1, 9, 10, 11, 1000):
        names = list(row_names(count))
        assert names == sorted(names) and [int(name) for name in names] == list(range(count))
    assert list(row_names(0)) == []
