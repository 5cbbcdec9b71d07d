import io
import os
import pickle
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
from PIL import Image

from components.base.errors import DataError
from components.data import sources
from components.data.sources import SourceError, encode_png, find_images, list_images, locate, read_bytes

LONG = "a" * 90 + "/" + "b" * 90 + "/" + "c" * 90 + ".jpg"
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
EVERY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pack(file: Path, members: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=form) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file


def pack_odd(file: Path, **kinds: bytes) -> None:
    """A tar with one member of each given type, all but files without contents."""
    with tarfile.open(file, "w") as tar:
        for name, kind in kinds.items():
            member = tarfile.TarInfo(f"{name}.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)


def problem(root: Path, path: str) -> str:
    with pytest.raises(SourceError) as error:
        read_bytes(root, path)
    assert str(root) not in str(error.value)
    return error.value.problem


# --- files


def test_a_file_is_read_as_it_is(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").write_bytes(b"1234")
    assert read_bytes(tmp_path, "a/b.jpg") == b"1234"


def test_what_is_no_file_is_missing(tmp_path: Path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
    for path in ("b.jpg", "folder", "pipe.jpg", "a.jpg/b.jpg", "none/a.jpg", "x" * 300 + ".jpg"):
        assert problem(tmp_path, path) == "missing", path


def test_nothing_outside_the_folder_is_opened(tmp_path: Path):
    root, outside = tmp_path / "data", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "x.jpg").write_bytes(b"secret")
    pack(outside / "x.tar", {"x.jpg": b"secret"})
    (root / "link").symlink_to(outside)
    (root / "x.jpg").symlink_to(outside / "x.jpg")
    (root / "x.tar").symlink_to(outside / "x.tar")
    climbing = ("../outside/x.jpg", "a/../../outside/x.jpg", str(outside / "x.jpg"), "", "a\\b.jpg", "a\0.jpg")
    for path in (*climbing, "link/x.jpg", "x.jpg", "x.tar/x.jpg"):
        assert problem(root, path) == "outside_folder", path


def test_a_folder_that_only_begins_alike_is_outside(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "database").mkdir()
    (tmp_path / "database" / "x.jpg").touch()
    (tmp_path / "data" / "x.jpg").symlink_to(tmp_path / "database" / "x.jpg")
    assert problem(tmp_path / "data", "x.jpg") == "outside_folder"


def test_links_inside_the_folder_are_followed_and_loops_end(tmp_path: Path):
    root = tmp_path / "real"
    root.mkdir()
    (root / "a.jpg").write_bytes(b"1")
    (root / "b.jpg").symlink_to("a.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "alias").symlink_to(root)
    assert read_bytes(root, "b.jpg") == read_bytes(tmp_path / "alias", "b.jpg") == b"1"
    assert problem(root, "loop.jpg") == "unreadable"


def test_an_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(SourceError("missing", "no such file")))
    assert (error.problem, str(error)) == ("missing", "no such file")
    assert isinstance(error, DataError)
    assert isinstance(error, ValueError)


# --- tar


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_a_member_is_read_in_place(tmp_path: Path, form):
    long = LONG if form != tarfile.USTAR_FORMAT else "d/" + "e" * 90 + ".jpg"
    members = {"a.jpg": b"1" * 700, "./deep/b.png": b"", long: b"3" * 512, "deep/ü.jpg": b"4", "notes.txt": b"5"}
    pack(tmp_path / "shards" / "0.tar", members, form)
    for name, data in members.items():
        assert read_bytes(tmp_path, f"shards/0.tar/{name.removeprefix('./')}") == data
    images = [f"shards/0.tar/{name.removeprefix('./')}" for name in members if name != "notes.txt"]
    assert list_images(tmp_path) == sorted(images)
    assert {path: read_bytes(tmp_path, path) for path in list_images(tmp_path)}


def test_a_member_that_is_not_there_is_missing(tmp_path: Path):
    pack(tmp_path / "0.tar", {"deep/a.jpg": b"1"})
    for path in ("0.tar/b.jpg", "0.tar/deep", "0.tar/deep/a.jpg/", "0.tar/deep/a.jpg/x"):
        assert problem(tmp_path, path) == "missing", path


def test_links_and_devices_in_a_tar_are_refused_and_not_listed(tmp_path: Path):
    kinds = {"sym": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "device": tarfile.CHRTYPE, "pipe": tarfile.FIFOTYPE}
    pack_odd(tmp_path / "0.tar", **kinds)
    assert list_images(tmp_path) == []
    for name in kinds:
        assert problem(tmp_path, f"0.tar/{name}.jpg") == "unreadable", name


def test_members_that_climb_out_are_refused_and_not_listed(tmp_path: Path):
    pack(tmp_path / "0.tar", {"../a.jpg": b"1", "/b.jpg": b"2", "c/../../d.jpg": b"3", "e.jpg": b"4"})
    assert list_images(tmp_path) == ["0.tar/e.jpg"]
    assert problem(tmp_path, "0.tar/../a.jpg") == "outside_folder"
    assert problem(tmp_path, "0.tar//b.jpg") == "outside_folder"


def test_of_two_members_of_one_name_the_last_counts_as_when_unpacked(tmp_path: Path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for data in (b"old", b"new!"):
            member = tarfile.TarInfo("a.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert read_bytes(tmp_path, "0.tar/a.jpg") == b"new!"
    assert list_images(tmp_path) == ["0.tar/a.jpg"]


def test_a_tar_that_is_replaced_is_read_anew(tmp_path: Path):
    pack(tmp_path / "0.tar", {"a.jpg": b"1"})
    assert read_bytes(tmp_path, "0.tar/a.jpg") == b"1"
    pack(tmp_path / "0.tar", {"b.jpg": b"3", "a.jpg": b"2"})
    os.utime(tmp_path / "0.tar", ns=(1, 1))
    assert read_bytes(tmp_path, "0.tar/a.jpg") == b"2"


def test_a_tar_is_indexed_once(tmp_path: Path):
    pack(tmp_path / "0.tar", {f"{index}.jpg": b"%d" % index for index in range(50)})
    before = sources._members.cache_info()
    for index in range(50):
        assert read_bytes(tmp_path, f"0.tar/{index}.jpg") == b"%d" % index
    after = sources._members.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 49)


def test_the_cache_of_indices_is_bounded(tmp_path: Path):
    for index in range(sources.TARS_INDEXED + 5):
        pack(tmp_path / f"{index}.tar", {"a.jpg": b"1"})
    assert len(list_images(tmp_path)) == sources.TARS_INDEXED + 5
    assert sources._members.cache_info().currsize == sources.TARS_INDEXED


def test_threads_and_processes_read_the_same(tmp_path: Path):
    rng = np.random.default_rng(0)
    members = {f"{index:03}.jpg": rng.bytes(int(rng.integers(1, 3000))) for index in range(200)}
    pack(tmp_path / "0.tar", members)
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
    file = pack(tmp_path / "shards" / "0.tar", {"a.jpg": b"1" * 700, "b.jpg": b"2" * 700})
    file.write_bytes(damage(file.read_bytes()))
    assert problem(tmp_path, "shards/0.tar/a.jpg") == "unreadable"
    with pytest.raises(SourceError, match=r"shards/0.tar is no sound tar \(.+\); copy it anew"):
        list_images(tmp_path)


def test_a_tar_without_its_closing_zeros_is_whole(tmp_path: Path):
    file = pack(tmp_path / "0.tar", {"a.jpg": b"1" * 512})
    file.write_bytes(file.read_bytes()[:1024])
    assert list_images(tmp_path) == ["0.tar/a.jpg"]


@EVERY
@given(changes=st.lists(st.tuples(st.integers(0, 10239), st.binary(min_size=1, max_size=16)), max_size=4))
def test_no_damage_to_a_tar_raises_anything_else(tmp_path: Path, changes):
    file = pack(tmp_path / "0.tar", {"a.jpg": b"1" * 700, LONG: b"2" * 100})
    data = bytearray(file.read_bytes())
    for place, what in changes:
        data[place : place + len(what)] = what
    file.write_bytes(data)
    sources._members.cache_clear()
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
        assert problem(tmp_path, "0.tar/a.jpg") == "unreadable"
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
    file = pack(tmp_path / "0.tar", {"a.jpg": b"1"})
    assert read_bytes(tmp_path, "0.tar") == file.read_bytes()


# --- npz


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "rgb": rng.integers(0, 256, (5, 28, 30, 3), np.uint8),
        "grey": rng.integers(0, 256, (4, 9, 7), np.uint8),
        "labels": rng.integers(0, 7, (5, 1), np.uint8),
        "floats": rng.random((5, 4, 4)),
    }


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return np.asarray(image)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_row_of_an_array_is_an_image_without_loss(tmp_path: Path, images, save):
    save(tmp_path / "d.npz", **images)
    for name in ("rgb", "grey"):
        for row, pixels in enumerate(images[name]):
            data = read_bytes(tmp_path, f"d.npz/{name}/{row}")
            assert np.array_equal(decoded(data), pixels)
            assert read_bytes(tmp_path, f"d.npz/{name}/{row}.png") == data


def test_a_png_depends_on_nothing_but_its_pixels(images):
    # sha256 of what the encoder wrote when this test was made: stored blocks know no zlib's version
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert encode_png(pixels) == encode_png(np.asfortranarray(pixels))
    assert encode_png(images["rgb"][:, ::-1][0]) == encode_png(images["rgb"][0][::-1].copy())
    assert np.array_equal(decoded(encode_png(pixels)), pixels)


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("d.npz/rgb/5", "missing", "has rows 0 to 4, no '5'"),
        ("d.npz/rgb/-1", "missing", "no '-1'"),
        ("d.npz/rgb/01", "missing", "no '01'"),
        ("d.npz/rgb/²", "missing", "no '²'"),
        ("d.npz/rgb/", "missing", "no ''"),
        ("d.npz/other/0", "missing", "has no array 'other'"),
        ("d.npz/0", "missing", "has no array ''"),
        ("d.npz/labels/0", "unreadable", r"'labels' holds no images \(uint8 \(5, 1\), expected uint8 \(N, H, W\)"),
        ("d.npz/floats/0", "unreadable", r"holds no images \(float64"),
    ],
)
def test_a_row_that_is_no_image_is_named(tmp_path: Path, images, path, kind, message):
    np.savez_compressed(tmp_path / "d.npz", **images)
    with pytest.raises(SourceError, match=message) as error:
        read_bytes(tmp_path, path)
    assert error.value.problem == kind


def test_an_array_of_objects_is_never_unpickled(tmp_path: Path):
    np.savez(tmp_path / "d.npz", a=np.array([print], dtype=object))
    with pytest.raises(SourceError, match="Object arrays cannot be loaded"):
        read_bytes(tmp_path, "d.npz/a/0")


def test_one_array_is_held_and_a_replaced_file_is_read_anew(tmp_path: Path):
    for value in (1, 2):
        np.savez(tmp_path / "d.npz", a=np.full((2, 3, 3), value, np.uint8), b=np.zeros((2, 3, 3), np.uint8))
        os.utime(tmp_path / "d.npz", ns=(value, value))
        assert decoded(read_bytes(tmp_path, "d.npz/a/1")).max() == value
        assert decoded(read_bytes(tmp_path, "d.npz/b/1")).max() == 0
    assert sources._images.cache_info().currsize == 1


@EVERY
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
def test_no_damage_to_an_npz_raises_anything_else(tmp_path: Path, changes):
    np.savez_compressed(tmp_path / "d.npz", a=np.arange(75, dtype=np.uint8).reshape(1, 5, 5, 3))
    data = bytearray((tmp_path / "d.npz").read_bytes())
    for share, what in changes:
        place = int(share * len(data))
        data[place : place + len(what)] = what
    (tmp_path / "d.npz").write_bytes(data)
    sources._images.cache_clear()
    try:
        assert read_bytes(tmp_path, "d.npz/a/0").startswith(b"\x89PNG")
    except SourceError as error:
        assert str(tmp_path) not in str(error)


# --- lists


def test_images_are_those_with_an_images_suffix(tmp_path: Path):
    for name in ("b.JPG", "a/c.png", "a/notes.txt", ".hidden.jpg", ".git/d.jpg", "a/._c.png", "d.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pack(tmp_path / "a.tar", {"x.webp": b"", "deep/._x.jpg": b"", ".git/y.jpg": b"", "z.txt": b""})
    pack(tmp_path / ".hidden.tar", {"x.jpg": b""})
    assert list_images(tmp_path) == ["a.tar/x.webp", "a/c.png", "b.JPG"]


def test_a_folder_that_is_called_tar_is_a_folder(tmp_path: Path):
    (tmp_path / "a.tar").mkdir()
    (tmp_path / "a.tar" / "b.jpg").write_bytes(b"1")
    assert list_images(tmp_path) == ["a.tar/b.jpg"]
    assert read_bytes(tmp_path, "a.tar/b.jpg") == b"1"


def test_no_listed_image_is_a_guess(tmp_path: Path):
    pack(tmp_path / "s" / "0.tar", {"x/a.jpg": b"1"})
    (tmp_path / "s" / "b.jpg").write_bytes(b"2")
    assert [read_bytes(tmp_path, path) for path in list_images(tmp_path)] == [b"1", b"2"]


def test_images_are_found_by_name_and_absent_ones_keep_a_place(tmp_path: Path):
    pack(tmp_path / "s" / "0.tar", {"x/a.jpg": b"1"})
    (tmp_path / "b.png").touch()
    found = find_images(tmp_path)
    assert locate(["b", "a", "c"], found, "images/{}.jpg") == ["b.png", "s/0.tar/x/a.jpg", "images/c.jpg"]
    assert locate(["a", "b"], find_images(tmp_path, "s"), "{}") == ["s/0.tar/x/a.jpg", "b"]
    assert locate(["a"], find_images(tmp_path, "s/0.tar/x/"), "{}") == ["s/0.tar/x/a.jpg"]


def test_a_name_with_two_files_is_no_guess_of_ours(tmp_path: Path):
    for name in ("images/a.jpg", "masks/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"1 images have several files, first a: images/a.jpg, masks/a.png; keep one"):
        locate(["a"], find_images(tmp_path), "{}")
    assert locate(["a"], find_images(tmp_path, "images"), "{}") == ["images/a.jpg"]
    assert locate(["a"], find_images(tmp_path, prefer=("masks", "images")), "{}") == ["masks/a.png"]
    assert locate(["b"], find_images(tmp_path), "{}.jpg") == ["b.jpg"]


def test_no_image_at_all_says_where_they_belong_and_names_a_compressed_tar(tmp_path: Path):
    with pytest.raises(DataError, match=r"no image there; put the images into .*images, or as they are in .*tar"):
        find_images(tmp_path)
    (tmp_path / "all.tar.gz").touch()
    with pytest.raises(DataError, match=r"all.tar.gz is compressed.*all.tar.gz > all.tar"):
        find_images(tmp_path)


@pytest.mark.real
def test_real_images_in_a_tar_are_the_files_themselves(ham10000: Path, tmp_path: Path):
    names = sorted(file.name for file in (ham10000 / "images").iterdir())[:300]
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name in names:
            tar.add(ham10000 / "images" / name, name)
    assert list_images(tmp_path) == [f"0.tar/{name}" for name in names]
    for name in names:
        assert read_bytes(tmp_path, f"0.tar/{name}") == (ham10000 / "images" / name).read_bytes()
