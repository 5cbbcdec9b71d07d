"""Encodings of tables: Unicode, one that is set, one that names of files show, and one that is not sure."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import DataError
from components.data.tables import TableFormat
from tests.unit.data.table_files import read, refused, table_of

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


def test_the_excel_tables_of_the_cases_have_equal_rows(tmp_path: Path, cases: Path):
    columns = ["Bild", "Befund", "Fall", "Patient", "Alter", "Geschlecht", "Ort"]
    unicode, _ = read(cases / "excel-semicolon-utf8" / "export.csv", columns)
    for bild, *_ in unicode:
        (tmp_path / f"{bild}.jpg").touch()
    found, warnings = read(cases / "excel-semicolon-cp1252" / "export.csv", columns, root=tmp_path)
    assert found == unicode and warnings == {"encoding_found": 1}
    message = str(refused(cases / "stray-quotes" / "t.csv", ["file", "dx", "patient"]))
    assert "opens in line 21 and does not close before line 31" in message
