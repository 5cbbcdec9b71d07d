"""Where an image's bytes are: one relative path names a file, a member of a tar shard, or a row of an npz array.

Shards are read in place: a tar's index gives a member's offset, and an image is one seek and one read. Nothing
outside the data set's folder is opened, whatever links or paths say.
"""

from __future__ import annotations

import errno
import lzma
import os
import stat
import struct
import tarfile
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import numpy as np

from components.base.errors import DataError, UnusableError

Problem = Literal["missing", "outside_folder", "unreadable"]
Array = np.ndarray[Any, np.dtype[np.uint8]]
Place = tuple[int, int]  # offset and size of a tar's member, bytes

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
COMPRESSED = (".tar.bz2", ".tar.gz", ".tar.xz", ".tar.zst", ".tbz2", ".tgz", ".txz")
TARS_INDEXED = 64  # a process; 1,000 members are 0.2 MB
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)  # no file can be there

NPZ_ERRORS = (  # what zipfile and numpy raise for damaged bytes; MemoryError for a shape that cannot be meant
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    UnicodeError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

_one_array = threading.Lock()  # two threads that unpack one array would hold it twice


class SourceError(DataError, UnusableError[Problem]):
    """There are no bytes to read: `problem` in one word, the message what is wrong, without an absolute path."""


def read_bytes(root: Path, path: str) -> bytes:
    """The encoded image at a POSIX path relative to `root`; raises SourceError, and nothing else.

    `a/b.jpg` is a file, `shards/000.tar/a/b.jpg` a member of an uncompressed tar, and
    `dermamnist_64.npz/train_images/17.png` (or `.../17`) a row of an npz's array, given as PNG.
    """
    try:
        file, inside = _locate(root, path)
        if not inside:
            return file.read_bytes()
        here = path[: -len(inside) - 1]
        return _read_npz(file, here, inside) if file.suffix == ".npz" else _read_tar(file, here, inside)
    except OSError as error:
        raise _refused(error) from error


def list_images(root: Path) -> list[str]:
    """Every image below a folder as `read_bytes` takes it, tars' members too, sorted; hidden ones left out.

    Those without a row are a data set's orphans: `set(list_images(root)) - set(table["path"])`. An npz is no
    list of images: its arrays may be masks or labels. Raises SourceError for a tar that cannot be read, since
    half a list would drop images in silence.
    """
    found: set[str] = set()
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        parent = PurePosixPath(Path(folder).relative_to(root).as_posix())
        for name in names:
            if _is_image(name):
                found.add(str(parent / name))
            elif name.endswith(".tar") and not name.startswith("."):
                found.update(_list_tar(root, str(parent / name)))
    return sorted(found)


def compressed_tars(root: Path) -> list[str]:
    """The archives below a folder whose images cannot be read in place: for the message that finds no image."""
    folders = (Path(folder).relative_to(root) / name for folder, _, names in os.walk(root) for name in names)
    return sorted(file.as_posix() for file in folders if file.name.endswith(COMPRESSED))


def _is_image(path: str) -> bool:
    inside = PurePosixPath(path)
    return inside.suffix.lower() in IMAGE_SUFFIXES and not any(part.startswith(".") for part in inside.parts)


def _locate(root: Path, path: str) -> tuple[Path, str]:
    """The regular file that a path leads to, and what is left of the path: nothing, or a place inside the file.

    A path without '..' can leave the folder through symbolic links alone, so only those are resolved.
    """
    parts = path.split("/")
    if not path or "\0" in path or "\\" in path or ".." in parts or path.startswith("/"):
        raise SourceError("outside_folder", "leaves the data set's folder, not opened")
    place = Path(root)
    for depth, part in enumerate(parts, 1):
        place /= part
        mode = place.lstat().st_mode
        if stat.S_ISLNK(mode):
            mode = _follow(root, place)
        if stat.S_ISREG(mode):
            return place, _inside(parts, depth)
    raise SourceError("missing", "no such file")  # a folder, or what is no file at all, such as a pipe


def _follow(root: Path, link: Path) -> int:
    """The mode of what a link leads to; SourceError where that lies outside the folder."""
    if not Path(os.path.realpath(link)).is_relative_to(os.path.realpath(root)):  # resolve() raises for loops
        raise SourceError("outside_folder", "leaves the data set's folder, not opened")
    return link.stat().st_mode


def _inside(parts: list[str], depth: int) -> str:
    """What follows the file in a path; SourceError where the file is none that holds others."""
    inside, name = "/".join(parts[depth:]), parts[depth - 1]
    if not inside or name.endswith((".tar", ".npz")):
        return inside
    here = "/".join(parts[:depth])
    if name.endswith(COMPRESSED):
        raise SourceError("unreadable", _how_to_unpack(here))
    raise SourceError("missing", f"no such file: {here} is no folder")


def _how_to_unpack(here: str) -> str:
    return (
        f"{here} is compressed, and single images cannot be read from it; make it a plain tar: "
        f"zcat (bzcat, xzcat, zstdcat) {here} > {here.rsplit('.t', 1)[0]}.tar"
    )


def _refused(error: OSError) -> SourceError:
    if error.errno in ABSENT:
        return SourceError("missing", "no such file")
    return SourceError("unreadable", error.strerror or "cannot be read")


# --- tar


def _read_tar(file: Path, here: str, member: str) -> bytes:
    with file.open("rb") as stream:
        found = _index(stream, file, here).get(member)
        if found is None:
            raise SourceError("missing", f"{here} has no member {member}")
        if isinstance(found, str):
            raise SourceError("outside_folder" if found == "climbs" else "unreadable", _REFUSED[found].format(here))
        offset, size = found
        stream.seek(offset)
        return stream.read(size)


_REFUSED = {
    "climbs": "{}: the member's name leaves the archive, not read",
    "link": "{}: the member is a link, a device or sparse, not read; pack the images themselves (tar --dereference)",
}


def _list_tar(root: Path, path: str) -> Iterator[str]:
    try:
        file, _ = _locate(root, path)
        with file.open("rb") as stream:
            members = _index(stream, file, path)
    except SourceError as error:
        raise SourceError(error.problem, f"{path}: {error}" if path not in str(error) else str(error)) from error
    except OSError as error:
        raise SourceError("unreadable", f"{path}: {error.strerror or 'cannot be read'}") from error
    return (f"{path}/{name}" for name, place in members.items() if isinstance(place, tuple) and _is_image(name))


def _index(stream: IO[bytes], file: Path, here: str) -> Mapping[str, Place | str]:
    """Name -> place, or why it is refused; SourceError for a damaged tar."""
    state = os.fstat(stream.fileno())
    members, damage = _members(file.absolute(), state.st_size, state.st_mtime_ns)
    if damage:
        raise SourceError("unreadable", f"{here} is no sound tar ({damage}); copy it anew from where it came")
    return members


@lru_cache(maxsize=TARS_INDEXED)
def _members(file: Path, size: int, mtime_ns: int) -> tuple[dict[str, Place | str], str]:  # noqa: ARG001  # the key
    """A tar's members and what is wrong with it; size and time are there to notice another file of that name."""
    members: dict[str, Place | str] = {}
    try:
        with file.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            while (member := tar.next()) is not None:
                if member.size < 0 or member.offset_data + member.size > size:
                    return {}, f"{member.name} reaches beyond the end"
                tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
                if not member.isdir():
                    members[_plain(member.name)] = _place(member)
            return members, _ending(stream, tar.offset)
    except (tarfile.TarError, ValueError, OverflowError, EOFError, KeyError, IndexError, RecursionError) as error:
        return {}, str(error) or type(error).__name__


def _plain(name: str) -> str:
    """`./a/b.jpg`, as `tar -c .` writes it, is `a/b.jpg`."""
    return name if name.startswith("/") else "/".join(part for part in name.split("/") if part not in ("", "."))


def _place(member: tarfile.TarInfo) -> Place | str:
    if member.name.startswith("/") or "\\" in member.name or ".." in member.name.split("/"):
        return "climbs"
    if not member.isreg() or member.issparse():
        return "link"
    return member.offset_data, member.size


def _ending(stream: IO[bytes], offset: int) -> str:
    """Nothing, if the tar ends as it should: tarfile stops at a damaged header as it does at the end."""
    stream.seek(offset)
    block = stream.read(tarfile.BLOCKSIZE)
    return f"damaged header at byte {offset}" if block.strip(b"\0") else ""


# --- npz


def _read_npz(file: Path, here: str, inside: str) -> bytes:
    name, _, row = inside.removesuffix(".png").rpartition("/")
    state = file.stat()
    with _one_array:
        images = _images(file.absolute(), name, (state.st_size, state.st_mtime_ns))
    if isinstance(images, SourceError):
        raise SourceError(images.problem, f"{here}: {images}")
    if not (row.isascii() and row.isdigit() and str(int(row)) == row and int(row) < len(images)):
        raise SourceError("missing", f"{here}: {name} has rows 0 to {len(images) - 1}, no {row!r}")
    return encode_png(images[int(row)])


@lru_cache(maxsize=1)
def _images(file: Path, name: str, version: tuple[int, int]) -> Array | SourceError:  # noqa: ARG001  # the cache's key
    """One whole array, (N, H, W) or (N, H, W, 3), since a compressed one has no places to seek; or why there is none.

    Only the last is kept: DermaMNIST's largest unpacks to 1.1 GB. Sorted paths read each array once.
    """
    try:
        images = read_array(file, name)
    except SourceError as error:
        return error
    if images.dtype == np.uint8 and (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)):
        return images
    found = f"{images.dtype} {images.shape}, expected uint8 (N, H, W) or (N, H, W, 3)"
    return SourceError("unreadable", f"{name!r} holds no images ({found})")


def read_array(file: Path, name: str) -> np.ndarray[Any, Any]:
    """One array of an npz, never unpickled; raises SourceError that names the arrays there are."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [member.removesuffix(".npy") for member in archive.namelist()]
            if name not in names:
                raise SourceError("missing", f"has no array {name!r}, but {names}")
            with archive.open(f"{name}.npy") as member:
                array: np.ndarray[Any, Any] = np.lib.format.read_array(member, allow_pickle=False)
                return array
    except SourceError:
        raise
    except (*NPZ_ERRORS, ValueError) as error:
        raise SourceError("unreadable", f"is no sound npz ({error or type(error).__name__})") from error


def encode_png(pixels: Array) -> bytes:
    """(H, W) grey or (H, W, 3) RGB as a PNG whose bytes depend on no library's version.

    Stored, not compressed (PNG 1.2, 3-4, 9): the bytes are hashed and decoded at once, and never kept.
    """
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    unfiltered = np.pad(rows, ((0, 0), (1, 0)))  # each row begins with its filter: 0, none
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    data = zlib.compress(unfiltered.tobytes(), 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# --- by name


def find_images(root: Path, within: str = "", prefer: tuple[str, ...] = ()) -> Mapping[str, list[str]]:
    """Image id -> paths of the images whose file name, less its suffix, is the id; DataError where there is none.

    `within` narrows the search to a subfolder or a shard; where several folders hold an id, the first of
    `prefer` that does is taken, and what then remains is for `locate` to settle.
    """
    inside = within.strip("/")
    found: dict[str, list[str]] = {}
    for path in list_images(root):
        if not inside or path.startswith(f"{inside}/"):
            found.setdefault(PurePosixPath(path).stem, []).append(path)
    if not found:
        raise DataError(_none_found(root, inside))
    return {name: _preferred(paths, prefer) for name, paths in found.items()}


def _none_found(root: Path, inside: str) -> str:
    packed = compressed_tars(root)
    hint = f"; {_how_to_unpack(packed[0])}" if packed else ""
    return (
        f"dataset.path = {root}: no image {f'in {inside} ' if inside else ''}there; put the images into "
        f"{root / (inside or 'images')}, or as they are in uncompressed .tar files{hint}"
    )


def _preferred(paths: list[str], prefer: tuple[str, ...]) -> list[str]:
    for folder in prefer:
        if chosen := [path for path in paths if path.startswith(f"{folder}/")]:
            return chosen
    return paths


def locate(names: Iterable[str], found: Mapping[str, list[str]], absent: str) -> list[str]:
    """The path of each named image; one that is not there gets its place after the pattern `absent`.

    DataError for a name with two files: which of them the table means is not ours to guess.
    """
    named = list(names)
    double = sorted({name for name in named if len(found.get(name, ())) > 1})
    if double:
        raise DataError(
            f"{len(double)} images have several files, first {double[0]}: {', '.join(found[double[0]])}; "
            "keep one of them, or name the folder that counts as dataset.images (params.yaml)"
        )
    return [found[name][0] if name in found else absent.format(name) for name in named]
