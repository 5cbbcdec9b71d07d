"""Columns of tables: which are read, which are counted, which are refused with which message."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.data.read_report import ReadReport
from components.data.tables import SUFFIXES, find_table, read_header, read_table
from tests.unit.data.table_files import NAMES, ROWS, TEXT, read, refused, table_of
from tests.unit.data.workbooks import write_xlsx


def test_a_missing_table_is_named_with_those_that_are_there(tmp_path: Path):
    table_of(tmp_path / "other.csv", TEXT)
    error = refused(tmp_path / "none.csv")
    assert "none.csv: is missing; put the table there, or correct dataset.path" in str(error)
    assert "other.csv" in error.words


def test_columns_come_in_the_order_asked_for_and_cells_as_text(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", "id,diagnosis,x\n007,NA,1\n,melanoma (in situ),2\n")
    report = ReadReport()
    table = read_table(file, ["diagnosis", "id"], report, optional=["x", "y"])
    assert list(table) == ["diagnosis", "id", "x"]
    assert table.to_numpy().tolist() == [["NA", "007", "1"], ["melanoma (in situ)", None, "2"]]
    assert report.lines(with_examples=True) == ["t.csv: 2 rows (separator ',', utf-8)"]


def test_names_are_compared_in_one_form(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", "Kö rper ,\u200bdx\na,b\n".replace("ö", "o\u0308"))
    assert read_table(file, ["Kö rper", "dx "], ReadReport()).to_dict("list") == {"Kö rper": ["a"], "dx ": ["b"]}


def test_missing_columns_are_named_and_similar_ones_are_words_of_the_table(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", "Image, DX ,pat\na,b,c\n")
    error = refused(file)
    assert "lacks 3 of the expected columns: image, dx, patient, of which 2 have a similar name there" in str(error)
    assert "Image" not in str(error) and "DX" not in str(error)
    assert "'Image' for 'image', 'DX' for 'dx'" in error.words


def test_an_index_column_without_a_name_is_left_alone(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", ",image,dx,patient\n0,im1,nv,P1\n1,im2,mel,P2\n2,im3,nv,P2\n")
    assert read_header(file) == NAMES
    assert read(file) == (ROWS, {})


@pytest.mark.parametrize("columns", ["image,image,dx,patient", "image,image.1,dx,patient"])
def test_a_column_that_stands_twice_with_equal_cells_is_read_and_counted(tmp_path: Path, columns):
    rows = "".join(f"{image},{image} ,{dx},{patient}\n" for image, dx, patient in ROWS)
    assert read(table_of(tmp_path / "t.csv", f"{columns}\n{rows}")) == (ROWS, {"doubled_columns": 1})


def test_a_wanted_column_with_two_contents_is_refused_and_an_unwanted_one_is_not(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", "image,dx,dx,patient\nim1,nv,nv,P1\nim2,mel,nv,P2\n")
    assert "has the column 'dx' twice, with different cells in 1 rows, first in row 2 behind the header" in str(
        refused(file)
    )
    assert read(file, ["image", "patient"]) == ([["im1", "P1"], ["im2", "P2"]], {})


def test_the_first_of_two_names_as_pandas_writes_them_is_read_and_differences_are_counted(tmp_path: Path):
    report = ReadReport()
    file = table_of(tmp_path / "t.csv", "dx,dx.1\nnv,nv\nmel,nv\n")
    assert read_table(file, ["dx"], report)["dx"].to_list() == ["nv", "mel"]
    assert "with different cells in 1 rows; 'dx' is read" in report.warnings[0].message
    assert not ReadReport().warnings
    read_table(file, ["dx", "dx.1"], report)  # both are wanted: they are two columns
    assert len(report.warnings) == 1


def test_changed_cells_are_counted_by_column(tmp_path: Path):
    report = ReadReport()
    read_table(table_of(tmp_path / "t.csv", "a,b\nx , \ny,z\u200b\n"), ["a", "b"], report)
    assert report.changed == {"a": 1, "b": 2}


def test_a_header_without_rows_is_a_table_without_rows(tmp_path: Path):
    assert read(table_of(tmp_path / "t.csv", "image,dx,patient\n")) == ([], {})
    assert read(write_xlsx(tmp_path / "t.xlsx", [NAMES])) == ([], {})


def test_a_table_is_found_by_its_name_whatever_the_suffix(tmp_path: Path):
    wanted = tmp_path / "metadata.csv"
    assert find_table(wanted) == wanted
    other = table_of(tmp_path / "Metadata.XLSX", b"")
    assert find_table(wanted) == other
    table_of(tmp_path / "metadata.tsv", b"")
    assert find_table(wanted) == wanted  # two of them: which one is not sure
    same = table_of(tmp_path / "METADATA.CSV", b"")
    assert find_table(wanted) == same
    table_of(wanted, b"")
    assert find_table(wanted) == wanted
    assert {".csv", ".xlsx", ".parquet"} <= set(SUFFIXES)
