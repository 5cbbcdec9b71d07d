"""CSV with any separator: rows that are read, rows that are left out and counted, rows that are refused by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.table_quotes import holds_rows, opening_line
from components.data.tables import TableFormat, read_header
from tests.unit.data.table_files import NAMES, ROWS, TEXT, read, refused, table_of


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
