"""A write is complete or leaves what was there."""

from __future__ import annotations

import subprocess
import sys
from fnmatch import fnmatch
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


KILLED = """
import os, signal, sys
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from components.base.files import whole
with whole(Path(sys.argv[1])) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_write_left_is_ignored_by_dvc_and_git_and_removed_by_the_next_write(
    tmp_path: Path, repo: Path
) -> None:
    file = tmp_path / "table.csv"
    subprocess.run([sys.executable, "-c", KILLED, str(file)], cwd=repo, check=False)
    left = [entry.name for entry in tmp_path.iterdir()]
    assert len(left) == 1
    for ignored in (".dvcignore", ".gitignore"):
        assert any(fnmatch(left[0], line) for line in (repo / ignored).read_text().split())
    other = tmp_path / "other.csv"
    with whole(other) as part:
        part.write_text("whole")
        inner = [entry.name for entry in tmp_path.iterdir()]
        assert left[0] not in inner
        with whole(tmp_path / "third.csv") as third:
            third.write_text("")
        assert part.exists()  # that of a process that runs stays
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other.csv", "third.csv"]


def test_what_another_host_writes_stays(tmp_path: Path) -> None:
    foreign = tmp_path / ".table.csv.another-host.1-abcd.scratch"
    foreign.mkdir()
    write_text(tmp_path / "a.csv", "")
    assert foreign.exists()
