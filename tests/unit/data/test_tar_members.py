import io
import os
import re
import tarfile
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data import tar_members
from components.data.file_tree import list_images
from components.data.source_error import SourceError
from components.data.sources import read_bytes
from tests.unit.data.shards import pack_tar, problem_of

LONG = "a" * 90 + "/" + "b" * 90 + "/" + "c" * 90 + ".jpg"
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
EVERY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pack_odd(file: Path, **kinds: bytes) -> None:
    """A tar with one member of each given type, all but files without contents."""
    with tarfile.open(file, "w") as tar:
        for name, kind in kinds.items():
            member = tarfile.TarInfo(f"{name}.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_a_member_is_read_in_place(tmp_path: Path, form):
    long = LONG if form != tarfile.USTAR_FORMAT else "d/" + "e" * 90 + ".jpg"
    members = {"a.jpg": b"1" * 700, "./deep/b.png": b"", long: b"3" * 512, "deep/ü.jpg": b"4", "notes.txt": b"5"}
    pack_tar(tmp_path / "shards" / "0.tar", members, form)
    for name, data in members.items():
        assert read_bytes(tmp_path, f"shards/0.tar/{name.removeprefix('./')}") == data
    images = [f"shards/0.tar/{name.removeprefix('./')}" for name in members if name != "notes.txt"]
    assert list_images(tmp_path) == sorted(images)
    assert {path: read_bytes(tmp_path, path) for path in list_images(tmp_path)}


def test_a_member_that_is_not_there_is_missing(tmp_path: Path):
    pack_tar(tmp_path / "0.tar", {"deep/a.jpg": b"1"})
    for path in ("0.tar/b.jpg", "0.tar/deep", "0.tar/deep/a.jpg/", "0.tar/deep/a.jpg/x"):
        assert problem_of(tmp_path, path) == "missing", path


def test_links_and_devices_in_a_tar_are_refused_and_not_listed(tmp_path: Path):
    kinds = {"sym": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "device": tarfile.CHRTYPE, "pipe": tarfile.FIFOTYPE}
    pack_odd(tmp_path / "0.tar", **kinds)
    assert list_images(tmp_path) == []
    for name in kinds:
        assert problem_of(tmp_path, f"0.tar/{name}.jpg") == "unreadable", name


def test_members_that_climb_out_are_refused_and_not_listed(tmp_path: Path):
    pack_tar(tmp_path / "0.tar", {"../a.jpg": b"1", "/b.jpg": b"2", "c/../../d.jpg": b"3", "e.jpg": b"4"})
    assert list_images(tmp_path) == ["0.tar/e.jpg"]
    assert problem_of(tmp_path, "0.tar/../a.jpg") == "outside_folder"
    assert problem_of(tmp_path, "0.tar//b.jpg") == "outside_folder"


def test_of_two_members_of_one_name_the_last_counts_as_when_unpacked(tmp_path: Path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for data in (b"old", b"new!"):
            member = tarfile.TarInfo("a.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert read_bytes(tmp_path, "0.tar/a.jpg") == b"new!"
    assert list_images(tmp_path) == ["0.tar/a.jpg"]


def test_a_tar_that_is_replaced_is_read_again(tmp_path: Path):
    pack_tar(tmp_path / "0.tar", {"a.jpg": b"1"})
    assert read_bytes(tmp_path, "0.tar/a.jpg") == b"1"
    pack_tar(tmp_path / "0.tar", {"b.jpg": b"3", "a.jpg": b"2"})
    os.utime(tmp_path / "0.tar", ns=(1, 1))
    assert read_bytes(tmp_path, "0.tar/a.jpg") == b"2"


def test_a_tar_is_indexed_once(tmp_path: Path):
    pack_tar(tmp_path / "0.tar", {f"{index}.jpg": b"%d" % index for index in range(50)})
    before = tar_members._members.cache_info()
    for index in range(50):
        assert read_bytes(tmp_path, f"0.tar/{index}.jpg") == b"%d" % index
    after = tar_members._members.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 49)


def test_the_cache_of_indices_is_bounded(tmp_path: Path):
    for index in range(tar_members.TARS_INDEXED + 5):
        pack_tar(tmp_path / f"{index}.tar", {"a.jpg": b"1"})
    assert len(list_images(tmp_path)) == tar_members.TARS_INDEXED + 5
    assert tar_members._members.cache_info().currsize == tar_members.TARS_INDEXED


def test_threads_and_processes_read_the_same(tmp_path: Path):
    rng = np.random.default_rng(0)
    members = {f"{index:03}.jpg": rng.bytes(int(rng.integers(1, 3000))) for index in range(200)}
    pack_tar(tmp_path / "0.tar", members)
    paths = [f"0.tar/{name}" for name in members]
    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(partial(read_bytes, tmp_path), paths * 3)) == list(members.values()) * 3
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as executor:
        assert list(executor.map(partial(read_bytes, tmp_path), paths, chunksize=50)) == list(members.values())


DAMAGES = {
    "truncated in an image": lambda data: data[: 512 + 300],
    "truncated in a header": lambda data: data[: 512 + 1024 + 100],
    "a header overwritten": lambda data: data[: 512 + 1024] + b"x" * 512 + data[512 + 1024 + 512 :],
    "no tar at all": lambda _: b"something else" * 100,
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_tar_is_named_and_never_half_listed(tmp_path: Path, damage):
    file = pack_tar(tmp_path / "shards" / "0.tar", {"a.jpg": b"1" * 700, "b.jpg": b"2" * 700})
    file.write_bytes(damage(file.read_bytes()))
    assert problem_of(tmp_path, "shards/0.tar/a.jpg") == "unreadable"
    with pytest.raises(SourceError, match=r"an archive in it cannot be read; copy it again") as error:
        list_images(tmp_path)
    assert re.match(r"shards/0.tar is not an intact tar \(.+\); copy it again", error.value.words)


def test_a_tar_without_its_closing_zeros_is_whole(tmp_path: Path):
    file = pack_tar(tmp_path / "0.tar", {"a.jpg": b"1" * 512})
    file.write_bytes(file.read_bytes()[:1024])
    assert list_images(tmp_path) == ["0.tar/a.jpg"]


@EVERY
@given(changes=st.lists(st.tuples(st.integers(0, 10239), st.binary(min_size=1, max_size=16)), max_size=4))
def test_no_damage_to_a_tar_raises_anything_else(tmp_path: Path, changes):
    file = pack_tar(tmp_path / "0.tar", {"a.jpg": b"1" * 700, LONG: b"2" * 100})
    data = bytearray(file.read_bytes())
    for place, what in changes:
        data[place : place + len(what)] = what
    file.write_bytes(data)
    tar_members._members.cache_clear()
    try:
        assert len(read_bytes(tmp_path, "0.tar/a.jpg")) <= len(data)
    except SourceError as error:
        assert str(tmp_path) not in str(error)


def test_a_member_of_negative_size_ends_the_reading(tmp_path: Path):
    member = tarfile.TarInfo("a.jpg")
    member.size = -1024
    (tmp_path / "0.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    done = threading.Event()

    def read() -> None:
        assert problem_of(tmp_path, "0.tar/a.jpg") == "unreadable"
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(10), "tarfile walks in circles"


@pytest.mark.parametrize("name", ["0.tar.gz", "0.tgz", "0.tar.xz"])
def test_a_compressed_tar_says_how_to_make_it_plain(tmp_path: Path, name):
    with tarfile.open(tmp_path / name, f"w:{'xz' if name.endswith('xz') else 'gz'}"):
        pass
    with pytest.raises(SourceError, match=rf"{name} is compressed.*{name} > 0.tar") as error:
        read_bytes(tmp_path, f"{name}/a.jpg")
    assert error.value.problem == "unreadable"


def test_the_file_itself_of_a_tar_is_bytes_like_any(tmp_path: Path):
    file = pack_tar(tmp_path / "0.tar", {"a.jpg": b"1"})
    assert read_bytes(tmp_path, "0.tar") == file.read_bytes()


@pytest.mark.real
def test_real_images_in_a_tar_are_the_files_themselves(ham10000: Path, tmp_path: Path):
    names = sorted(file.name for file in (ham10000 / "images").iterdir())[:300]
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name in names:
            tar.add(ham10000 / "images" / name, name)
    assert list_images(tmp_path) == [f"0.tar/{name}" for name in names]
    for name in names:
        assert read_bytes(tmp_path, f"0.tar/{name}") == (ham10000 / "images" / name).read_bytes()
