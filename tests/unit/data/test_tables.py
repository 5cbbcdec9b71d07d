"""Tables of every kind: what is read, what is counted, and what is refused with which message."""

from __future__ import annotations

import gzip
import zipfile
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.base.errors import DataError
from components.data.read_report import ReadReport
from components.data.table_quotes import holds_rows, opening_line
from components.data.tables import SUFFIXES, TableFormat, find_table, read_header, read_table
from tests.unit.data.workbooks import write_ods, write_xls, write_xlsx

ROWS = [["im1", "nv", "P1"], ["im2", "mel", "P2"], ["im3", "nv", "P2"]]
NAMES = ["image", "dx", "patient"]
TEXT = "image,dx,patient\nim1,nv,P1\nim2,mel,P2\nim3,nv,P2\n"


def table_of(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, columns: list[str] = NAMES, **settings) -> tuple[list[list[str | None]], dict[str, int]]:
    """The cells, and the warnings by kind."""
    report = ReadReport()
    table = read_table(path, columns, report, **settings)
    return table.to_numpy().tolist(), report.counts()["warnings"]


def refused(path: Path, columns: list[str] = NAMES, **settings) -> DataError:
    with pytest.raises(DataError) as caught:
        read_table(path, columns, ReadReport(), **settings)
    assert str(path) in str(caught.value)
    return caught.value


# --- columns ----------------------------------------------------------------------------------------------------------


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


# --- separators -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".tsv", ".txt", ""])
@pytest.mark.parametrize("quoted", [False, True])
def test_every_separator_is_found_with_any_suffix(tmp_path: Path, separator, suffix, quoted):
    cells = [NAMES, *ROWS]
    lines = [separator.join(f'"{cell}"' if quoted else cell for cell in row) for row in cells]
    file = table_of(tmp_path / f"t{suffix}", "\n".join(lines))
    assert read(file) == (ROWS, {})
    assert read_header(file) == NAMES


@pytest.mark.parametrize(
    "text",
    [
        "image;age, years;dx;patient\nim1;45,5;nv;P1\nim2;50,0;mel;P2\nim3;;nv;P2\n",
        '"image";"x;y";"dx";"patient"\nim1;"a;b";nv;P1\nim2;1,5;mel;P2\nim3;;nv;P2\n',
        "sep=;\nimage;dx;patient;a,b\nim1;nv;P1;1,2\nim2;mel;P2;1,2\nim3;nv;P2;1,2\n",
        '\ufeff"sep=|"\r\nimage|dx|patient\r\nim1|nv|P1\r\nim2|mel|P2\r\nim3|nv|P2\r\n',
        'image, dx, patient\nim1, "nv", P1\nim2, "mel", "P2"\nim3, nv, P2\n',
    ],
)
def test_separators_inside_cells_and_excels_own_first_line(tmp_path: Path, text):
    assert read(table_of(tmp_path / "t.csv", text))[0] == ROWS


@pytest.mark.parametrize("separator", [" ", ":", "^"])
def test_an_unusual_separator_is_taken_where_it_gives_all_columns(tmp_path: Path, separator):
    file = table_of(tmp_path / "t.csv", TEXT.replace(",", separator))
    assert read(file) == (ROWS, {})
    assert "lacks 4 of the expected columns" in str(refused(file, [*NAMES, "age"]))


def test_a_table_of_one_column_whose_cells_have_a_separator_is_refused(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", "image\na,b\nc\n")
    assert "1 rows have another number of cells than the header's 1 (line 2: 2)" in str(refused(file, ["image"]))
    assert read(file, ["image"], form=TableFormat(separator=";"))[0] == [["a,b"], ["c"]]


def test_the_sign_with_which_dos_ends_a_file_is_no_row(tmp_path: Path):
    assert read(table_of(tmp_path / "t.csv", TEXT + "\x1a")) == (ROWS, {})


def test_a_header_that_leaves_the_separator_open_is_decided_by_the_rows_or_the_setting(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", "a,x;b,y\n1;2\n3;4\n5;6\n")
    assert read_header(file) == ["a,x", "b,y"]
    assert read_header(file, TableFormat(separator=",")) == ["a", "x;b", "y"]


def test_a_table_of_one_column_needs_no_separator(tmp_path: Path):
    assert read(table_of(tmp_path / "t.csv", "image\nim1\nim 2\n"), ["image"]) == ([["im1"], ["im 2"]], {})


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(tmp_path: Path, end):
    assert read(table_of(tmp_path / "t.csv", TEXT.replace("\n", end))) == (ROWS, {})


# --- rows -------------------------------------------------------------------------------------------------------------


def test_empty_cells_behind_the_last_column_are_left_out_and_counted(tmp_path: Path):
    lines = "".join(",".join(row) + ",,\n" for row in ROWS)
    assert read(table_of(tmp_path / "t.csv", "image,dx,patient\n" + lines)) == (ROWS, {"cells_behind_the_last": 3})
    assert read(table_of(tmp_path / "u.csv", TEXT.replace("\n", ",\n"))) == (ROWS, {})  # the header has them, too


def test_rows_that_do_not_fit_the_header_are_named_with_their_lines(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", TEXT + "\nim4,mel, in situ,P3\nim5,nv\n")
    message = str(refused(file))
    assert "2 rows have another number of cells than the header's 3 (line 6: 4, line 7: 2)" in message
    assert "must stand in double quotes" in message
    assert "P3" not in message and "in situ" not in message


def test_row_names_of_r_and_a_header_with_another_separator_are_recognised(tmp_path: Path):
    lines = "".join(f'"{number}",{",".join(row)}\n' for number, row in enumerate(ROWS, 1))
    assert "one cell more than the header" in str(refused(table_of(tmp_path / "r.csv", "image,dx,patient\n" + lines)))
    lines = "".join(";".join(row) + "\n" for row in ROWS)
    assert "Every row is one cell" in str(refused(table_of(tmp_path / "s.csv", "image,dx,patient\n" + lines)))


def test_blank_lines_comments_titles_and_repeated_headers_are_no_rows(tmp_path: Path):
    text = (
        "Export of the clinic\n# made today\n\nimage,dx,patient\nim1,nv,P1\n\n,,\n# half\nim2,mel,P2\n"
        "image,dx,patient\nim3,nv,P2\n , ,\n"
    )
    found, warnings = read(table_of(tmp_path / "t.csv", text))
    assert found == ROWS
    assert warnings == {"blank_rows": 2, "comment_rows": 1, "repeated_headers": 1, "rows_above_header": 2}


def test_an_id_that_begins_like_a_comment_is_a_row(tmp_path: Path):
    assert read(table_of(tmp_path / "t.csv", "image,dx\n#1,nv\n#2,\n"), ["image"])[0] == [["#1"], ["#2"]]
    assert read(table_of(tmp_path / "u.csv", "image\n#1\n"), ["image"])[0] == [["#1"]]


@pytest.mark.parametrize(
    "second",
    ["dx,image,patient\nnv,im4,P3\n", "\npatient,image,age\nP3,im4,50\n", "\nimage,age,sex\nim4,50,m\n"],
)
def test_a_second_table_below_the_first_is_refused(tmp_path: Path, second):
    message = str(refused(table_of(tmp_path / "t.csv", TEXT + second)))
    assert "is a second header" in message and "in a file of its own" in message


def test_a_last_row_of_totals_is_warned_of(tmp_path: Path):
    found, warnings = read(table_of(tmp_path / "t.csv", TEXT + "Total:,3,2\n"))
    assert len(found) == 4 and warnings == {"totals_row": 1}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (TEXT.replace("im1,nv,P1", 'im1,nv,"P1').replace("im3,nv,P2", 'im3,nv,P2"'), ["line 2", "line 4"]),
        (TEXT.replace("im1,nv,P1", '"im1,nv,P1').replace("im3,nv,P2", 'im3,nv,P2"'), ["lines 2 to 4: 1"]),
        (TEXT.replace("im1,nv,P1", 'im1,nv,"P1').replace("im3,nv,P2", 'im3,nv,"P2'), ["line 2", "line 4"]),
        (TEXT.replace("im2,mel,P2", 'im2,"mel,P2'), ["line 3", "line 4"]),
        (TEXT.replace("im2,mel,P2", 'im2,"m"el,P2'), ["line 3"]),
        (TEXT.replace("im1,nv,P1", 'im1,"a\nb","P1').replace("im3,nv,P2", 'im3,nv,P"2'), ["line 3", "line 5"]),
    ],
)
def test_a_quote_that_makes_rows_one_cell_is_named_with_the_line_where_it_opens(tmp_path: Path, text, lines):
    message = str(refused(table_of(tmp_path / "t.csv", text)))
    assert "double quote" in message
    assert all(line in message for line in lines)
    assert "P2" not in message


def test_texts_of_several_lines_in_quotes_are_read(tmp_path: Path):
    text = 'image,dx,note\nim1,nv,"first, of all,\nthe second, which is red, and\nthe last"\nim2,"m ""el""",x\n'
    found, _ = read(table_of(tmp_path / "t.csv", text), ["image", "dx"])
    assert found == [["im1", "nv"], ["im2", 'm "el"']]


@given(st.lists(st.text(alphabet='a,"\n', max_size=6), min_size=1, max_size=4))
def test_a_row_of_any_cells_in_quotes_opens_where_its_last_cell_begins(cells):
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    before = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells[:-1])
    assert opening_line(quoted.splitlines(keepends=True), ",", blanks=False) == before.count("\n")


def test_prose_holds_no_rows():
    assert holds_rows(["a", "b", "P1\nim2,nv,P2\nim3,nv,P2"], 3, ",")
    assert not holds_rows(["a", "b", "red, round, small\nwith hair, and, scale"], 3, ",")
    assert not holds_rows(["a", "b", "one line"], 3, ",")


# --- encodings --------------------------------------------------------------------------------------------------------

ACCENTS = "image;dx;patient\nLäsion 1;Nävus;Größe\nLäsion 2;mel;P2\n"
ACCENTED = [["Läsion 1", "Nävus", "Größe"], ["Läsion 2", "mel", "P2"]]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff"),
        ("utf-16-le", b""), ("utf-16-be", b""), ("utf-32-le", b"\xff\xfe\0\0"),
    ],
)  # fmt: skip
def test_unicode_is_read_without_a_setting(tmp_path: Path, encoding, mark):
    assert read(table_of(tmp_path / "t.csv", mark + ACCENTS.encode(encoding))) == (ACCENTED, {})


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman", "cp1250", "cp850", "UTF-16", "utf_16_be", "latin-1"])
def test_an_encoding_can_be_set(tmp_path: Path, encoding):
    file = table_of(tmp_path / "t.csv", ACCENTS.encode(encoding))
    assert read(file, form=TableFormat(encoding=encoding)) == (ACCENTED, {})


@pytest.mark.parametrize(("encoding", "word"), [("shift_jis", "母斑"), ("gb18030", "黑色素瘤"), ("euc_kr", "흑색종")])
def test_east_asian_tables_are_read_by_setting_or_by_the_names_of_files(tmp_path: Path, encoding, word):
    file = table_of(tmp_path / "t.csv", f"image,dx\n{word},{word}1\n".encode(encoding))
    assert read(file, ["image", "dx"], form=TableFormat(encoding=encoding))[0] == [[word, f"{word}1"]]
    assert "is not sure" in str(refused(file, ["image", "dx"]))
    (tmp_path / f"{word}.jpg").touch()
    assert read(file, ["image", "dx"]) == ([[word, f"{word}1"]], {"encoding_found": 1})


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman", "cp850"])
def test_names_of_files_show_the_encoding(tmp_path: Path, encoding):
    file = table_of(tmp_path / "t.csv", ACCENTS.encode(encoding))
    error = refused(file)
    assert "its encoding is not sure: cp1252, mac_roman" in str(error)
    assert "format: {encoding: cp1252}" in str(error)
    assert "Nävus" not in str(error) and "sion" not in str(error)
    assert "Größe" in error.words
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "Läsion 1.png").touch()
    if encoding == "cp1252":  # the other western encodings have ä, ö and ß in the same places
        assert read(file) == (ACCENTED, {"encoding_found": 1})
    else:
        assert read(file)[0] == ACCENTED


def test_names_of_columns_in_the_settings_show_the_encoding(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", "Nr;Körper\n1;Rücken\n2;Füße\n".encode("cp1252"))
    assert read(file, ["Nr", "Körper"]) == ([["1", "Rücken"], ["2", "Füße"]], {"encoding_found": 1})
    file = table_of(tmp_path / "u.csv", "Nr;Körper\n1;tête\n2;père\n".encode("cp1252"))
    assert "is not sure: cp1252, " in str(refused(file, ["Nr", "Körper"]))  # ö does not tell whether è is cp1250's č


def test_letters_outside_the_columns_that_are_used_need_no_encoding(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", "image,dx,patient,N\xe4me\nim1,nv,P1,M\xfcller\n".encode("latin-1"))
    assert read(file) == ([["im1", "nv", "P1"]], {})


def test_a_file_of_two_encodings_is_refused(tmp_path: Path):
    (tmp_path / "Läsion 1.png").touch()
    file = table_of(tmp_path / "t.csv", ACCENTS.encode("cp1252") + "Läsion 3;x;y\n".encode())
    assert "put together from tables of two encodings" in str(refused(file))


def test_utf8_that_a_setting_reads_otherwise_is_warned_of(tmp_path: Path):
    file = table_of(tmp_path / "t.csv", ACCENTS)
    assert read(file, form=TableFormat(encoding="cp1252"))[1] == {"encoding_doubtful": 1}


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("klingon", "no encoding that Python knows"), ("hex", "no encoding that Python knows"), ("utf-8", "is not utf.8")],
)
def test_an_encoding_that_cannot_be_meant_is_refused(tmp_path: Path, encoding, message):
    with pytest.raises(DataError, match=message):
        read(table_of(tmp_path / "t.csv", ACCENTS.encode("cp1252")), form=TableFormat(encoding=encoding))


def test_the_excel_tables_of_the_cases_are_read_alike(tmp_path: Path, cases: Path):
    columns = ["Bild", "Befund", "Fall", "Patient", "Alter", "Geschlecht", "Ort"]
    unicode, _ = read(cases / "excel-semicolon-utf8" / "export.csv", columns)
    for bild, *_ in unicode:
        (tmp_path / f"{bild}.jpg").touch()
    found, warnings = read(cases / "excel-semicolon-cp1252" / "export.csv", columns, root=tmp_path)
    assert found == unicode and warnings == {"encoding_found": 1}
    message = str(refused(cases / "stray-quotes" / "t.csv", ["file", "dx", "patient"]))
    assert "opens in line 21 and does not close before line 31" in message


# --- workbooks --------------------------------------------------------------------------------------------------------


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


# --- parquet ----------------------------------------------------------------------------------------------------------


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


# --- files that are something else ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n \n", "is empty"),
        (b",,\n,,\n", "is empty"),
        (gzip.compress(TEXT.encode()), r"is compressed \(gzip\), no table; unpack it with `gunzip`"),
        (b"%PDF-1.7\n", "is a PDF"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page or XML"),
        (b"\xef\xbb\xbf  <html>", "is a web page or XML"),
        (b'<?xml version="1.0"?>', "is a web page or XML"),
        (b'{"image": "im1"}', "is JSON"),
        (b'[{"image": "im1"}]', "is JSON"),
        (b"\x89HDF\r\n\x1a\n", "is HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS; |Git LFS, no table"),
        (b"PK\3\4 cut", "is a workbook or zip that is not complete"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is no workbook that can be read"),
        (b"image,dx,patient\nim1,n\0v,P1\n", "has a byte of zero in line 2"),
        (b"PAR1 cut", "is no parquet table, or damaged"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_file_that_is_no_table_is_named_as_what_it_is(tmp_path: Path, content, message, suffix):
    with pytest.raises(DataError, match=message):
        read(table_of(tmp_path / f"t{suffix}", content))


def test_a_zip_and_text_named_parquet_are_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "t.csv", "w") as archive:
        archive.writestr("t.csv", TEXT)
    assert "is a zip archive, no table; unpack it" in str(refused(tmp_path / "t.csv"))
    assert "is no parquet table" in str(refused(table_of(tmp_path / "t.parquet", TEXT)))


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
