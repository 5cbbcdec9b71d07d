"""Images in HDF5 files: every way in which one is stored, links that lead elsewhere, damage, processes and threads."""

from __future__ import annotations

import io
import os
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random

import h5py
import numpy as np
import pytest
from PIL import Image

from components.data import file_kinds, hdf5_images
from components.data.file_tree import list_files, list_images
from components.data.source_error import SourceError
from components.data.sources import read_bytes
from tests.unit.data.example_data import drawn, drawn_pixels, pack
from tests.unit.data.shards import problem_of

JPEG = drawn(1)
AS_BYTES = np.frombuffer(JPEG, np.uint8)
VARIABLE = h5py.vlen_dtype(np.uint8)


def write_every_form(file: Path) -> None:
    with h5py.File(file, "w") as stored:
        stored.create_dataset("opaque", data=np.void(JPEG))
        stored.create_dataset("text", data=np.bytes_(JPEG))
        stored.create_dataset("list", data=AS_BYTES)
        stored.create_dataset("signed", data=AS_BYTES.view(np.int8))
        stored.create_dataset("one in a row", data=np.array([np.void(JPEG)]))
        stored.create_dataset("deep/er/compressed", data=AS_BYTES, compression="gzip", shuffle=True, fletcher32=True)
        stored.create_dataset("variable", dtype=VARIABLE, shape=())[()] = AS_BYTES


def test_each_way_to_store_encoded_bytes_gives_these_bytes(tmp_path: Path):
    write_every_form(tmp_path / "a.h5")
    names = ["opaque", "text", "list", "signed", "one in a row", "deep/er/compressed", "variable"]
    assert {name: read_bytes(tmp_path, f"a.h5/{name}") == JPEG for name in names} == dict.fromkeys(names, True)
    assert list_images(tmp_path) == sorted(f"a.h5/{name}" for name in names)


def test_rows_and_pixels_are_read_too(tmp_path: Path):
    pixels = np.arange(4 * 5 * 6 * 3, dtype=np.uint8).reshape(4, 5, 6, 3)
    with h5py.File(tmp_path / "a.hdf5", "w") as stored:
        rows = stored.create_dataset("jpegs", (2,), VARIABLE)
        rows[0], rows[1] = AS_BYTES, np.frombuffer(drawn(2), np.uint8)
        stored.create_dataset("x", data=pixels, chunks=(1, 5, 6, 3), compression="gzip")
        stored.create_dataset("one", data=pixels[0])
        stored.create_dataset("grey", data=pixels[..., 0])
    assert [read_bytes(tmp_path, f"a.hdf5/jpegs/{row}") for row in (0, 1)] == [JPEG, drawn(2)]
    for path, expected in {"x/3": pixels[3], "one": pixels[0], "grey/2": pixels[2, ..., 0]}.items():
        with Image.open(io.BytesIO(read_bytes(tmp_path, f"a.hdf5/{path}"))) as image:
            assert np.array_equal(np.asarray(image), expected), path
    kinds = {file.path: (file.kind, file.images) for file in list_files(tmp_path)}
    assert kinds["a.hdf5/jpegs"] == (file_kinds.ARRAY, 2)
    assert kinds["a.hdf5/x"] == (file_kinds.ARRAY, 4)
    assert kinds["a.hdf5/one"] == (file_kinds.IMAGE, 1)


def test_what_is_not_there_is_missing_and_a_group_is_no_image(tmp_path: Path):
    write_every_form(tmp_path / "a.h5")
    nowhere = ("other", "deep", "deep/er", "deep/other", "opaque/0", "list/0", "./opaque", "deep//er/compressed", "x/y")
    for path in nowhere:
        assert problem_of(tmp_path, f"a.h5/{path}") == "missing", path


def test_a_row_that_is_not_there_is_missing(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as stored:
        stored.create_dataset("x", data=np.zeros((2, 4, 4, 3), np.uint8))
    for row in ("2", "-1", "1.0", "²", "a", "99999999999999999999"):
        assert problem_of(tmp_path, f"a.h5/x/{row}") == "missing", row
    with pytest.raises(SourceError, match=r"x is not one image .*such as x/0"):
        read_bytes(tmp_path, "a.h5/x")


def test_nothing_outside_the_file_is_opened(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    pack(outside / "b.h5", {"secret": JPEG})
    (outside / "raw").write_bytes(JPEG)
    root = tmp_path / "set"
    root.mkdir()
    with h5py.File(root / "a.h5", "w") as stored:
        stored["inside"] = np.void(JPEG)
        stored["soft"] = h5py.SoftLink("/inside")
        stored["far"] = h5py.ExternalLink(str(outside / "b.h5"), "secret")
        stored.create_dataset("raw", (len(JPEG),), np.uint8, external=[(str(outside / "raw"), 0, len(JPEG))])
        layout = h5py.VirtualLayout((len(JPEG),), np.uint8)
        layout[:] = h5py.VirtualSource(str(outside / "b.h5"), "secret", (len(JPEG),), np.uint8)
        stored.create_virtual_dataset("virtual", layout)
    assert {name: problem_of(root, f"a.h5/{name}") for name in ("soft", "far", "raw", "virtual")} == dict.fromkeys(
        ("soft", "far", "raw", "virtual"), "outside_folder"
    )
    assert list_images(root) == ["a.h5/inside"]


def test_groups_in_a_circle_are_listed_once(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as stored:
        stored.create_dataset("g/a", data=np.void(JPEG))
        stored["g/again"] = stored["g"]
    assert list_images(tmp_path) == ["a.h5/g/a"]


def test_a_size_that_no_image_has_is_refused_before_it_is_read(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as stored:
        stored.create_dataset("bomb", (2**40,), np.uint8, chunks=(2**20,), compression="gzip")
    assert (tmp_path / "a.h5").stat().st_size < 10_000
    with pytest.raises(SourceError, match=f"states {2**40} bytes"):
        read_bytes(tmp_path, "a.h5/bomb")


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"\x89HDF\r\n\x1a\n" + bytes(900)]
)
def test_a_damaged_file_stops_the_listing_and_gives_a_reason(tmp_path: Path, damage):
    file = pack(tmp_path / "train-image.hdf5", {f"ISIC_{index}": JPEG for index in range(20)})
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(SourceError, match=r"an archive in it cannot be read") as listing:
        list_images(tmp_path)
    assert listing.value.words.startswith("train-image.hdf5 is not an intact HDF5 file; copy it again")
    with pytest.raises(SourceError, match=r"train-image.hdf5 is not an intact HDF5 file") as raised:
        read_bytes(tmp_path, "train-image.hdf5/ISIC_1")
    assert str(tmp_path) not in str(raised.value)


def test_any_damage_is_a_source_error(tmp_path: Path):
    file = pack(tmp_path / "a.h5", {f"i{index}": drawn(index) for index in range(5)})
    good, outcomes = file.read_bytes(), set()
    for seed in range(300):
        random, data = Random(seed), bytearray(good)
        for _ in range(random.choice([1, 2, 5, 20])):
            data[random.randrange(len(data))] = random.choice([0, 255, random.randrange(256)])
        file.write_bytes(data)
        os.utime(file, ns=(seed, seed))
        for work in (partial(read_bytes, tmp_path, "a.h5/i3"), partial(list_images, tmp_path)):
            try:
                work()
                outcomes.add("read")
            except SourceError:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_files_of_other_programs_are_no_images(tmp_path: Path):
    with h5py.File(tmp_path / "model.h5", "w") as stored:
        stored.create_dataset("weights", data=np.zeros((3, 3), np.float32))
        stored.create_dataset("name", data="resnet")
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "empty.hdf5").write_bytes(b"")
    assert {file.path: file.kind for file in list_files(tmp_path)} == dict.fromkeys(
        ("empty.hdf5", "model.h5", "text.h5"), file_kinds.ARRAY_FILE
    )


def test_a_file_that_is_replaced_is_read_again(tmp_path: Path):
    file = pack(tmp_path / "a.h5", {"i": JPEG})
    assert read_bytes(tmp_path, "a.h5/i") == JPEG
    pack(tmp_path / "new.h5", {"i": drawn(7), "j": JPEG}).replace(file)
    assert read_bytes(tmp_path, "a.h5/i") == drawn(7)
    assert list_images(tmp_path) == ["a.h5/i", "a.h5/j"]


def test_many_files_are_open_no_longer_than_needed(tmp_path: Path):
    count = hdf5_images.FILES_OPEN + 5
    for index in range(count):
        pack(tmp_path / f"{index}.h5", {"i": drawn(index)})
    assert [read_bytes(tmp_path, f"{index}.h5/i") for index in range(count)] == [drawn(index) for index in range(count)]
    assert len(hdf5_images._open_files(os.getpid())[1]) == hdf5_images.FILES_OPEN


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_processes_and_threads_read_at_once(tmp_path: Path, start):
    images = {f"i{index}": drawn(index % 10) for index in range(60)}
    pack(tmp_path / "a.h5", images)
    paths = [f"a.h5/{name}" for name in images]
    assert read_bytes(tmp_path, paths[0]) == images["i0"]  # the parent has the file open
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(partial(read_bytes, tmp_path), paths * 3)) == list(images.values()) * 3
    with ProcessPoolExecutor(2, get_context(start)) as processes:
        assert list(processes.map(partial(read_bytes, tmp_path), paths * 2, chunksize=30)) == list(images.values()) * 2
    assert read_bytes(tmp_path, paths[1]) == images["i1"]


def test_of_a_large_group_some_members_are_opened_and_all_where_these_are_not_all_images(tmp_path: Path):
    count = 10 * hdf5_images.SAMPLE + 1
    with h5py.File(tmp_path / "a.h5", "w") as stored:
        for index in range(count):
            stored.create_dataset(f"{index:05d}", data=np.void(JPEG))
    assert len(list_images(tmp_path)) == count
    shutil.copy(tmp_path / "a.h5", tmp_path / "new.h5")
    with h5py.File(tmp_path / "new.h5", "a") as stored:
        del stored["00000"]
        stored.create_dataset("00000", data=3.0)
        stored.create_dataset("group/x", data=drawn_pixels(0))
    (tmp_path / "new.h5").replace(tmp_path / "a.h5")
    assert list_images(tmp_path) == [*(f"a.h5/{index:05d}" for index in range(1, count)), "a.h5/group/x"]
