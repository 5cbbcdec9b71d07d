"""Every file of a folder is counted once, whatever it is, and what may be an image is named with what to do."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.data.adapters.folder import Config as Folder
from components.data.adapters.table import Config as Table
from components.data.file_tree import list_files, list_images
from components.data.folder_account import WITH_ROW, WITHOUT_ROW, account_for_files
from components.data.image_formats import UNREAD
from components.data.read_report import ReadReport
from components.validation.scan import scan
from tests.unit.data.shards import pack_tar


def encoded(form: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (180, 130, 110)).save(buffer, form)
    return buffer.getvalue()


JPEG = encoded()
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
READ = {
    **{f"photo{suffix}": JPEG for suffix in (".jpg", ".JPG", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".mpo")},
    **{f"drawn.{suffix}": encoded(form) for suffix, form in {
        "png": "PNG", "gif": "GIF", "tif": "TIFF", "bmp": "BMP", "dib": "BMP", "webp": "WEBP", "jp2": "JPEG2000",
        "avif": "AVIF", "ppm": "PPM", "tga": "TGA",
    }.items()},
    "IM000001": JPEG, "1.2.840.10008.5": encoded("PNG"), "export.img": JPEG, "Läsion 1": encoded("TIFF"),
    "phone.heic": JPEG,  # a JPEG by content
}  # fmt: skip
UNREADABLE = {
    "phone2.heic": HEIC, "phone3.HEIF": HEIC, "copied from phone": HEIC, "a.cr2": b"II*\0\x10\0\0\0CR\2\0",
    "a.nef": encoded("TIFF"), "layers.psd": b"8BPS\0\1", "a.svg": b"<svg xmlns='x'/>", "a.jxl": b"\xff\x0a\0",
    "cut.heic": b"",
}  # fmt: skip
OTHERS = {
    "list.csv": b"a,b\n", "list.xlsx": b"PK\3\4", "notes.txt": b"hello", "paper.pdf": b"%PDF-1.7", "README": b"read",
    "all.zip": b"PK\3\4", "all.tar.gz": b"\x1f\x8b", "old.rar": b"Rar!", "film.mp4": b"\0\0\0\x18ftypmp42",
    "film.MOV": b"",
    "Thumbs.db": b"\xd0\xcf", ".DS_Store": b"\0", "._photo.jpg": b"\0\5\x16\7", ".hidden.jpg": JPEG,
    "__MACOSX/photo.jpg": b"\0\5\x16\7", ".cache/photo.jpg": JPEG, "empty": b"", "photo.jpg~": JPEG,
    "photo.jpg.part": JPEG[:50],
    "x.npy": b"\x93NUMPY", "x.mat": b"MATLAB", "unknown.xyz": b"1234567890", "zipped": b"PK\3\4...",
}  # fmt: skip


def plant(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def account(root: Path, used: list[str], report: ReadReport | None = None) -> ReadReport:
    report = report or ReadReport()
    account_for_files(root, pd.Series(used, dtype="str"), report)
    return report


def problems_of(root: Path, paths: list[str]) -> dict[str, str]:
    """Path -> problem, of those with one."""
    table = scan(root, paths, None, lambda each, total, words: each).facts
    return table.dropna(subset="problem").set_index("path")["problem"].to_dict()


def test_each_file_of_a_folder_is_a_row_or_is_named(tmp_path: Path):
    plant(tmp_path / "nv", READ | UNREADABLE | OTHERS)
    report = ReadReport()
    table = Folder(path=tmp_path).read(report)
    assert sorted(table["path"]) == sorted(f"nv/{name}" for name in [*READ, *UNREADABLE])
    problems = problems_of(tmp_path, list(table["path"]))
    assert problems.pop("nv/phone.heic") == "wrong_extension"
    assert problems == {f"nv/{name}": "unread_format" if data else "empty" for name, data in UNREADABLE.items()}
    account(tmp_path, list(table["path"]), report)
    assert sum(report.files.values()) == len(READ) + len(UNREADABLE) + len(OTHERS)
    assert report.files[WITH_ROW] == len(READ)
    assert (report.files[".heic"], report.files[".heif"], report.files[".cr2"]) == (2, 1, 1)
    told = {warning.kind: warning.count for warning in report.warnings}
    assert told["archives_not_read"] == 4 and told["films_and_sound"] == 2 and told["hidden_files"] == 2
    assert told["backups_and_unfinished_downloads"] == 2 and told["other_files"] == 1 and told["empty_files"] == 1
    assert "images_without_a_row" not in told


def test_what_can_be_read_is_read_without_a_problem_of_its_name(tmp_path: Path):
    plant(tmp_path, READ)
    assert list_images(tmp_path) == sorted(READ)
    assert problems_of(tmp_path, list(READ)) == {"phone.heic": "wrong_extension"}


def test_each_format_that_is_not_read_is_named_with_its_remedy(tmp_path: Path):
    plant(tmp_path, {f"a{form.suffixes[0]}": b"x" * 40 for form in UNREAD.values()} | {"b.jpg": JPEG})
    warnings = [each for each in account(tmp_path, ["b.jpg"]).warnings if each.kind == "images_not_read"]
    assert len(warnings) == len(UNREAD)
    for form in UNREAD.values():
        assert any(form.words in each.message and form.remedy in each.message for each in warnings)


def test_links_are_named_and_none_is_followed_out_of_the_folder(tmp_path: Path):
    root, outside = tmp_path / "set", tmp_path / "outside"
    plant(root, {"nv/a.jpg": JPEG, "pool/b.jpg": JPEG})
    plant(outside, {"c.jpg": JPEG})
    (root / "nv" / "inside.jpg").symlink_to("a.jpg")
    (root / "nv" / "outside.jpg").symlink_to(outside / "c.jpg")
    (root / "nv" / "broken.jpg").symlink_to("nowhere.jpg")
    (root / "nv" / "loop.jpg").symlink_to("loop.jpg")
    (root / "mel").symlink_to(root / "pool")
    (root / "bcc").symlink_to(outside)
    (root / "up").symlink_to("..")
    os.mkfifo(root / "nv" / "pipe.jpg")
    report = ReadReport()
    table = Folder(path=root).read(report)
    assert list_images(root) == ["nv/a.jpg", "nv/inside.jpg", "pool/b.jpg"]
    assert problems_of(root, list(table["path"])) == {
        "nv/broken.jpg": "missing", "nv/loop.jpg": "unreadable", "nv/outside.jpg": "outside_folder",
        "nv/pipe.jpg": "missing",
    }  # fmt: skip
    files = account(root, list(table["path"]), report).files
    assert files == {
        WITH_ROW: 3, "broken links": 2, "links to files outside": 1, "links to folders": 3, "special files": 1,
    }  # fmt: skip
    told = {warning.kind: warning for warning in report.warnings}
    assert told["links_to_folders"].examples == ("bcc", "mel", "up")
    assert "cp -rL" in told["links_to_folders"].message


def test_members_of_tars_are_counted_as_files_are(tmp_path: Path):
    members = (
        READ | UNREADABLE | {"list.csv": b"a", "deep/inner.tar": b"x", "deep/._a.jpg": b"", "deep/all.zip": b"PK\3\4"}
    )
    pack_tar(tmp_path / "nv.tar", members)
    with tarfile.open(tmp_path / "nv.tar", "a") as tar:
        link = tarfile.TarInfo("twice.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "photo.jpg"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("../away.jpg"))
    report = ReadReport()
    table = Folder(path=tmp_path).read(report)
    assert len(table) == len(READ) + len(UNREADABLE) + 2
    files = account(tmp_path, list(table["path"]), report).files
    assert sum(files.values()) == 1 + len(members) + 2
    assert (files[WITH_ROW], files["archives read"], files["archives not read"]) == (len(READ), 1, 2)
    assert files["members of tars that are no files"] == 2
    assert problems_of(tmp_path, ["nv.tar/twice.jpg"]) == {"nv.tar/twice.jpg": "unreadable"}


def test_rows_of_arrays_are_images_and_arrays_without_a_row_are_named(tmp_path: Path):
    pictures = np.zeros((5, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "d.npz", train_images=pictures, masks=pictures, labels=np.zeros((5, 1)))
    files = account(tmp_path, [f"d.npz/train_images/{row}.png" for row in range(3)]).files
    assert files == {"archives read": 1, "arrays without a row": 2, WITH_ROW: 3, WITHOUT_ROW: 2}


def test_tables_that_were_read_are_told_from_others(tmp_path: Path):
    plant(
        tmp_path, {"list.csv": b"id\nphoto\n", "more.xlsx": b"PK\3\4", "accepted_by_hand.csv": b"", "photo.jpg": JPEG}
    )
    report = ReadReport()
    table = Table(path=tmp_path, file="list.csv", columns={"image_id": "id"}).read(report)
    assert account(tmp_path, list(table["path"]), report).files == {
        WITH_ROW: 1, "other tables": 1, "tables read": 2,
    }  # fmt: skip


def test_a_name_that_is_no_utf8_or_has_a_backslash_is_a_row_that_says_so(tmp_path: Path):
    root = tmp_path / "set"
    plant(root, {"nv/a.jpg": JPEG})
    for name in (b"L\xe4sion.jpg", b"nv\\b.jpg"):
        Path(os.fsdecode(os.fsencode(root / "nv") + b"/" + name)).write_bytes(JPEG)
    table = Folder(path=root).read(ReadReport())
    assert sorted(table["path"]) == ["nv/L\ufffdsion.jpg", "nv/a.jpg", "nv/nv\\b.jpg"]
    table.to_parquet(tmp_path / "records.parquet")  # which refuses text that is no UTF-8
    report = account(root, list(table["path"]))
    assert report.files == {WITH_ROW: 1, "names that cannot be used": 2}
    assert "convmv" in report.warnings[0].message


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, for whom no folder is closed."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_cannot_be_opened_is_named():
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        root = Path(place)
        plant(root, {"nv/a.jpg": JPEG, "nv/unknown": JPEG, "closed/b.jpg": JPEG})
        root.chmod(0o755)
        (root / "nv" / "unknown").chmod(0)
        (root / "closed").chmod(0)
        (root / "nv" / "through.jpg").symlink_to(root / "closed" / "b.jpg")
        try:
            with as_nobody():
                files = account(root, ["nv/a.jpg"]).files
                rows = Folder(path=root).read(ReadReport())["path"].to_list()
        finally:
            (root / "closed").chmod(0o755)
    assert files == {WITH_ROW: 1, "files that cannot be opened": 2, "folders that cannot be opened": 1}
    assert rows == ["nv/a.jpg", "nv/through.jpg"]


# --- any folder

CONTENTS = {name: data for name, data in {**READ, **UNREADABLE, **OTHERS}.items() if "/" not in name}
Plan = list[tuple[tuple[str, ...], str, str]]


def plans() -> st.SearchStrategy[Plan]:
    """Folders, kind of file, name of its content: of up to 25 files."""
    folder = st.sampled_from(["nv", "mel", "übrige", ".git", "a b", "x.tar", "__MACOSX"])
    kind = st.sampled_from(["file", "file", "file", "tar", "link", "broken", "outside", "folder link", "pipe"])
    return st.lists(
        st.tuples(st.lists(folder, max_size=3).map(tuple), kind, st.sampled_from(sorted(CONTENTS))), max_size=25
    )


def build(root: Path, plan: Plan) -> int:
    """The number of files that were made, members of tars included."""
    (root.parent / "outside.jpg").write_bytes(JPEG)
    makers: dict[str, Callable[[Path], object]] = {
        "link": lambda place: place.symlink_to(root / "first.jpg"),
        "broken": lambda place: place.symlink_to(root / "nowhere"),
        "outside": lambda place: place.symlink_to(root.parent / "outside.jpg"),
        "folder link": lambda place: place.symlink_to(root),
        "pipe": os.mkfifo,
    }
    root.mkdir()
    (root / "first.jpg").write_bytes(JPEG)
    made = 1
    for number, (folders, kind, name) in enumerate(plan):
        stem, dot, suffix = name.rpartition(".")
        place = root.joinpath(*folders, f"{stem}{number}{dot}{suffix}")
        place.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            place.write_bytes(CONTENTS[name])
        elif kind == "tar":
            pack_tar(
                place.with_name(f"{number}.tar"), {"a/1.jpg": JPEG, "b": JPEG, "c.csv": b"x", name: CONTENTS[name]}
            )
            hidden = any(part.startswith(".") or part == "__MACOSX" for part in folders)
            made += 0 if hidden else 4  # of a hidden tar the members are not listed
        else:
            makers[kind](place)
        made += 1
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans())
def test_in_any_folder_each_file_is_counted_once(tmp_path: Path, plan: Plan):
    with tempfile.TemporaryDirectory(dir=tmp_path) as place:
        root = Path(place) / "set"
        made = build(root, plan)
        found = list_files(root)
        assert len({file.path for file in found}) == len(found) == made
        candidates = [file.path for file in found if file.is_candidate]
        for used in ([], candidates, candidates[::2]):
            report = account(root, used)
            assert sum(report.files.values()) == made
            assert report.files.get(WITHOUT_ROW, 0) == len(set(list_images(root)) - set(used))
            assert not [warning for warning in report.warnings if warning.kind == "missing_images"]
        problems = problems_of(root, candidates)
        assert [path for path in candidates if problems.get(path) in (None, "wrong_extension")] == list_images(root)
