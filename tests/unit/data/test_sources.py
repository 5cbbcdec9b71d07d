import os
import pickle
import re
from pathlib import Path

import pytest

from components.base.errors import DataError
from components.data.file_tree import list_images
from components.data.source_error import SourceError
from components.data.sources import find_images, locate, read_bytes
from tests.unit.data.shards import pack_tar, problem_of


def test_a_file_is_read_as_it_is(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").write_bytes(b"1234")
    assert read_bytes(tmp_path, "a/b.jpg") == b"1234"


def test_what_is_no_file_is_missing(tmp_path: Path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
    for path in ("b.jpg", "folder", "pipe.jpg", "a.jpg/b.jpg", "none/a.jpg", "x" * 300 + ".jpg"):
        assert problem_of(tmp_path, path) == "missing", path


def test_nothing_outside_the_folder_is_opened(tmp_path: Path):
    root, outside = tmp_path / "data", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "x.jpg").write_bytes(b"secret")
    pack_tar(outside / "x.tar", {"x.jpg": b"secret"})
    (root / "link").symlink_to(outside)
    (root / "x.jpg").symlink_to(outside / "x.jpg")
    (root / "x.tar").symlink_to(outside / "x.tar")
    climbing = ("../outside/x.jpg", "a/../../outside/x.jpg", str(outside / "x.jpg"), "", "a\\b.jpg", "a\0.jpg")
    for path in (*climbing, "link/x.jpg", "x.jpg", "x.tar/x.jpg"):
        assert problem_of(root, path) == "outside_folder", path


def test_a_folder_whose_name_only_begins_the_same_is_outside(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "database").mkdir()
    (tmp_path / "database" / "x.jpg").touch()
    (tmp_path / "data" / "x.jpg").symlink_to(tmp_path / "database" / "x.jpg")
    assert problem_of(tmp_path / "data", "x.jpg") == "outside_folder"


def test_links_inside_the_folder_are_followed_and_loops_end(tmp_path: Path):
    root = tmp_path / "real"
    root.mkdir()
    (root / "a.jpg").write_bytes(b"1")
    (root / "b.jpg").symlink_to("a.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "alias").symlink_to(root)
    assert read_bytes(root, "b.jpg") == read_bytes(tmp_path / "alias", "b.jpg") == b"1"
    assert problem_of(root, "loop.jpg") == "unreadable"


def test_an_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(SourceError("missing", "no such file")))
    assert (error.problem, str(error)) == ("missing", "no such file")
    assert isinstance(error, DataError)
    assert isinstance(error, ValueError)


# --- lists


def test_images_are_those_with_an_images_suffix(tmp_path: Path):
    for name in ("b.JPG", "a/c.png", "a/notes.txt", ".hidden.jpg", ".git/d.jpg", "a/._c.png", "d.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pack_tar(tmp_path / "a.tar", {"x.webp": b"", "deep/._x.jpg": b"", ".git/y.jpg": b"", "z.txt": b""})
    pack_tar(tmp_path / ".hidden.tar", {"x.jpg": b""})
    assert list_images(tmp_path) == ["a.tar/x.webp", "a/c.png", "b.JPG"]


def test_a_folder_that_is_called_tar_is_a_folder(tmp_path: Path):
    (tmp_path / "a.tar").mkdir()
    (tmp_path / "a.tar" / "b.jpg").write_bytes(b"1")
    assert list_images(tmp_path) == ["a.tar/b.jpg"]
    assert read_bytes(tmp_path, "a.tar/b.jpg") == b"1"


def test_no_listed_image_is_a_guess(tmp_path: Path):
    pack_tar(tmp_path / "s" / "0.tar", {"x/a.jpg": b"1"})
    (tmp_path / "s" / "b.jpg").write_bytes(b"2")
    assert [read_bytes(tmp_path, path) for path in list_images(tmp_path)] == [b"1", b"2"]


def test_images_are_found_by_name_and_absent_ones_keep_a_place(tmp_path: Path):
    pack_tar(tmp_path / "s" / "0.tar", {"x/a.jpg": b"1"})
    (tmp_path / "b.png").touch()
    found = find_images(tmp_path)
    assert locate(["b", "a", "c"], found, "images/{}.jpg") == ["b.png", "s/0.tar/x/a.jpg", "images/c.jpg"]
    assert locate(["a", "b"], find_images(tmp_path, "s"), "{}") == ["s/0.tar/x/a.jpg", "b"]
    assert locate(["a"], find_images(tmp_path, "s/0.tar/x/"), "{}") == ["s/0.tar/x/a.jpg"]


def test_a_name_with_two_files_is_an_error(tmp_path: Path):
    for name in ("images/a.jpg", "masks/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"1 images have several files; keep one") as error:
        locate(["a"], find_images(tmp_path), "{}")
    assert error.value.words == "first a: images/a.jpg, masks/a.png"
    assert locate(["a"], find_images(tmp_path, "images"), "{}") == ["images/a.jpg"]
    assert locate(["a"], find_images(tmp_path, prefer=("masks", "images")), "{}") == ["masks/a.png"]
    assert locate(["b"], find_images(tmp_path), "{}.jpg") == ["b.jpg"]


def test_no_image_at_all_says_where_they_belong_and_names_a_compressed_tar(tmp_path: Path):
    with pytest.raises(DataError, match=r"no image there; put the images into .*images, or leave them in .*tar"):
        find_images(tmp_path)
    (tmp_path / "all.tar.gz").touch()
    with pytest.raises(DataError, match=r"there are 1 archives not read: unpack them") as error:
        find_images(tmp_path)
    assert re.match(r"all.tar.gz is compressed.*all.tar.gz > all.tar", error.value.words)
