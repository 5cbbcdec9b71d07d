"""A write is complete or leaves what was there."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import DataError
from components.base.files import whole, write_text


def test_a_failed_write_leaves_the_former_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    write_text(file, "before")
    with pytest.raises(ZeroDivisionError), whole(file) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert file.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


def test_a_folder_replaces_the_former_one_with_all_its_files(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with whole(tmp_path / "deep" / "folder") as part:
            part.mkdir()
            (part / name).write_text(name)
    assert [file.name for file in (tmp_path / "deep" / "folder").iterdir()] == ["second"]
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["folder"]


def test_the_former_file_is_readable_until_the_new_one_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    write_text(file, "before")
    with whole(file) as part:
        part.write_text("after")
        assert file.read_text() == "before"
    assert file.read_text() == "after"


def test_a_path_that_cannot_be_written_is_named_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"file/table\.csv: cannot be written \(.*under paths") as caught:
        write_text(tmp_path / "file" / "table.csv", "text")
    assert isinstance(caught.value.__cause__, OSError)


def test_text_is_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "Größe 10 µm\n")
    assert (tmp_path / "text").read_bytes() == "Größe 10 µm\n".encode()
