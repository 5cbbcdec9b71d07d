"""Workbooks of Excel and OpenDocument: cells as text, merged cells, sheets."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from components.data.tables import TableFormat
from tests.unit.data.table_files import NAMES, ROWS, read, refused, table_of
from tests.unit.data.workbooks import write_ods, write_xls, write_xlsx


def test_workbooks_of_every_kind_are_read_whatever_their_suffix(tmp_path: Path):
    for name in ("t.xlsx", "T.XLSX", "t.csv", "t.xls"):
        assert read(write_xlsx(tmp_path / name, [NAMES, *ROWS])) == (ROWS, {})
    assert read(write_ods(tmp_path / "t.ods", [[], NAMES, *ROWS])) == (ROWS, {})


def test_cells_of_a_workbook_become_text(tmp_path: Path):
    cells = [[7, 7.5, True], [8.0, "#N/A", False], ["007", None, "x "]]
    file = write_xlsx(tmp_path / "t.xlsx", [[], [None, "a", "b", "c"], *[[None, *row] for row in cells]])
    assert read(file, ["a", "b", "c"])[0] == [["7", "7.5", "True"], ["8", None, "False"], ["007", None, "x"]]


def test_dates_and_long_numbers_in_used_columns_are_warned_of(tmp_path: Path):
    rows = [["id", "seen", "dx"], [date(2024, 2, 1), datetime(2024, 2, 1, 9), "nv"], [1234567890123456789.0, 1, "nv"]]
    file = write_xlsx(tmp_path / "t.xlsx", rows)
    found, warnings = read(file, ["id", "dx"])
    assert found[0] == ["2024-02-01", "nv"]
    assert warnings == {"date_cells": 1, "long_numbers": 1}


def test_a_merged_cell_counts_in_each_of_its_rows(tmp_path: Path):
    rows = [["image", "dx", "patient"], ["im1", "nv", "P1"], ["im2", "nv", None], ["im3", "mel", None], ["im4", "nv"]]
    found, _ = read(write_xlsx(tmp_path / "t.xlsx", rows, merged=["C2:C4"]))
    assert [patient for _, _, patient in found] == ["P1", "P1", "P1", None]
    assert read(write_xls(tmp_path / "t.xls"))[0] == [
        ["7", "nv", "P1"], ["8", "mel", None], ["9", "nv", "P2"], ["10", "nv", "P2"],
    ]  # fmt: skip


def test_the_sheet_with_the_columns_is_read_and_others_are_counted(tmp_path: Path):
    sheets = {"Legende": [["x", "y"], ["a", "b"]], "Daten": [["Klinik"], [], NAMES, *ROWS], "leer": []}
    file = write_xlsx(tmp_path / "t.xlsx", sheets)
    assert read(file) == (ROWS, {"rows_above_header": 1, "sheets_not_read": 1})
    assert read(file, ["image", "dx"], optional=["age", "patient"])[0] == ROWS  # not there, or there: both are right
    assert read(file, ["x"], form=TableFormat(sheet="Legende"))[0] == [["a"]]
    two = refused(write_xlsx(tmp_path / "u.xlsx", {"A": [NAMES, *ROWS], "B": [NAMES, *ROWS]}))
    assert "2 sheets have cells, and 2 of them the expected columns" in str(two) and two.words == (
        "its sheets are ['A', 'B']"
    )
    wrong = refused(file, form=TableFormat(sheet="leer"))
    assert "sheet 'leer' (dataset.format.sheet, params.yaml) is empty" in str(wrong) and "Daten" in wrong.words
    assert "is empty" in str(refused(write_xlsx(tmp_path / "v.xlsx", {"A": [], "B": []})))


def test_errors_of_formulas_and_rounded_numbers_count_in_text_too(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", "id,dx\n1.23E+17,nv\n#N/A,mel\n#REF!,mel\n#1,x\n")
    assert read(file, ["id"]) == (
        [["1.23E+17"], [None], [None], ["#1"]],
        {"error_cells": 2, "rounded_numbers": 1},
    )
