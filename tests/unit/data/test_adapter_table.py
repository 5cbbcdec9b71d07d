"""The adapter of any table: columns, words and paths by its settings."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from components.base.errors import DataError
from components.data.adapters.table import Config as Table
from components.data.read_report import ReadReport
from components.data.records import failures
from tests.unit.data.example_data import write, write_example

COLUMNS = {"image_id": "Bild", "diagnosis": "Befund"}


def test_the_table_adapter_maps_columns_and_words(tmp_path: Path):
    table = write_example("table", tmp_path).read(ReadReport())
    assert table["sex"].to_list() == ["female", "male", "unknown"]
    assert table["age"].fillna(-1).to_list() == [45, -1, 85]
    assert table["site"].to_list() == ["posterior torso", "head/neck", "unknown"]
    assert table["path"].to_list() == ["pictures/a.png", "pictures/b.png", "pictures/c.png"]
    assert set(table["source"]) == {"table"}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_reads_equally_from_every_format(tmp_path: Path, suffix):
    cells = pd.DataFrame(
        {"nr": [17, 18, 19], "Befund": ["nv", None, "mel"], "Fall": [1, None, 3], "Alter": [45.5, None, 7]}
    )
    file = tmp_path / f"list.{suffix}"
    if suffix == "parquet":
        cells.to_parquet(file)
    else:
        cells.astype({"Fall": "Int64"}).to_csv(file, sep="\t" if suffix == "tsv" else ",", index=False)
    columns = {"image_id": "nr", "diagnosis": "Befund", "lesion_id": "Fall", "age": "Alter"}
    table = Table(path=tmp_path, file=file.name, columns=columns, path_pattern="{image_id}.jpg", source="own").read(
        ReadReport()
    )
    assert table["path"].to_list() == ["17.jpg", "18.jpg", "19.jpg"]
    assert table["lesion_id"].to_list() == ["1", "18", "3"]  # without a lesion: the image
    assert table["diagnosis"].fillna("-").to_list() == ["nv", "-", "mel"]
    assert table["age"].fillna(-1).to_list() == [45.5, -1, 7]
    assert set(table["source"]) == {"own"}


def test_a_path_is_a_column_or_a_pattern_of_columns(tmp_path: Path):
    write(tmp_path, "list.csv", "Bild,Befund,shard,file\na,nv,000,x/a.jpg\nb,mel,001,x/b.jpg\n")
    pattern = Table(path=tmp_path, file="list.csv", columns=COLUMNS, path_pattern="s/{shard}.tar/{image_id}{{}}.png")
    assert pattern.read(ReadReport())["path"].to_list() == ["s/000.tar/a{}.png", "s/001.tar/b{}.png"]
    column = Table(path=tmp_path, file="list.csv", columns={"path": "file", "diagnosis": "Befund"})
    assert (
        column.read(ReadReport())["path"].to_list()
        == column.read(ReadReport())["image_id"].to_list()
        == ["x/a.jpg", "x/b.jpg"]
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"columns": {"image_id": "bild", "age": "Alter"}},
            r"lacks 2 of the expected columns: bild, Alter, of which 1 have a similar name .*'Bild' for 'bild'",
        ),
        (
            {"file": "other.csv"},
            r"other.csv: is missing; put the table there, or correct dataset.path or the name .*'list.csv'",
        ),
        ({"file": "list.parquet"}, r"list.parquet: is no parquet table"),
        (
            {"path_pattern": "{image}.jpg"},
            r"path_pattern = '{image}.jpg' .* names \['image'\]; .*has no such column .*\['Bild', 'Befund'\]",
        ),
    ],
)
def test_the_table_adapter_names_what_the_table_lacks(tmp_path: Path, settings, message):
    write(tmp_path, "list.csv", "Bild,Befund\na,nv\n")
    write(tmp_path, "list.parquet", "no parquet")
    given = {"file": "list.csv", "columns": COLUMNS} | settings
    with pytest.raises(DataError) as caught:
        Table(path=tmp_path, **given).read(ReadReport())
    assert re.search(message, caught.value.complete)
    assert "Befund" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"image_id": "a", "label": "b"}}, r"names \['label'\], expected some of"),
        ({"columns": {"age": "a"}}, "names neither image_id nor path"),
        ({"vocabulary": {"w": "weiblich"}}, r"gives \['weiblich'\], expected some of"),
        ({"path_pattern": "all.jpg"}, "expected names of columns in braces"),
        ({"path_pattern": "{image_id!r}.jpg"}, "expected names of columns in braces"),
        ({"path_pattern": "{}.jpg"}, "expected names of columns in braces"),
        ({"path_pattern": "{image_id"}, "is no pattern"),
        ({"path_pattern": "{a}.jpg", "columns": {"path": "p"}}, "both give the path of an image"),
    ],
)
def test_settings_of_the_table_adapter_that_cannot_be_meant(tmp_path: Path, settings, message):
    with pytest.raises(ValidationError, match=message):
        Table(**({"path": tmp_path, "file": "list.csv", "columns": COLUMNS} | settings))


def test_a_word_that_nobody_knows_breaks_the_contract_instead_of_vanishing(tmp_path: Path):
    config = write_example("table", tmp_path)
    write(tmp_path, "list.csv", (tmp_path / "list.csv").read_text().replace(",w,", ",divers,"))
    found = failures(config.read(ReadReport()))
    assert found[["rule", "value"]].to_numpy().tolist() == [["sex.words", "divers"]]
