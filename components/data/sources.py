"""Where an image's bytes are: one relative path names a file, a member of a tar, or a row of an array in an npz.

Nothing outside the data set's folder is opened, whatever links or paths say.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from components.base.errors import DataError
from components.data.npz_arrays import read_row
from components.data.source_error import SourceError
from components.data.tar_members import list_members, read_member

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
COMPRESSED = (".tar.bz2", ".tar.gz", ".tar.xz", ".tar.zst", ".tbz2", ".tgz", ".txz")
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)  # no file can be there


def read_bytes(root: Path, path: str) -> bytes:
    """The encoded image at a path.

    Args:
        root: folder of the data set.
        path: POSIX path relative to `root`: `a/b.jpg` is a file, `shards/000.tar/a/b.jpg` a member of an uncompressed
            tar, `dermamnist_64.npz/train_images/17.png` (or `.../17`) a row of an array in an npz.

    Returns:
        The bytes of the file or member, or a PNG of the row.

    Raises:
        SourceError: where there is no such image, it lies outside of `root` or cannot be read. Nothing else is raised.
    """
    try:
        file, inside = _locate(root, path)
        if not inside:
            return file.read_bytes()
        here = path[: -len(inside) - 1]
        return read_row(file, here, inside) if file.suffix == ".npz" else read_member(file, here, inside)
    except OSError as error:
        raise _source_error(error) from error


def list_images(root: Path) -> list[str]:
    """Every image below a folder, members of tars too, as sorted paths for `read_bytes`; hidden ones are left out.

    Files without a row in the table are `set(list_images(root)) - set(table["path"])`. Arrays of an npz are not listed,
    as they may be masks or labels.

    Raises:
        SourceError: for a tar that cannot be read, since an incomplete list would drop images silently.
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
    """The archives below a folder that `read_bytes` cannot read, for the message where no image is found."""
    folders = (Path(folder).relative_to(root) / name for folder, _, names in os.walk(root) for name in names)
    return sorted(file.as_posix() for file in folders if file.name.endswith(COMPRESSED))


def _is_image(path: str) -> bool:
    inside = PurePosixPath(path)
    return inside.suffix.lower() in IMAGE_SUFFIXES and not any(part.startswith(".") for part in inside.parts)


def _locate(root: Path, path: str) -> tuple[Path, str]:
    """The regular file that a path leads to, and the rest of the path: empty, or a place inside the file.

    A path without '..' can leave the folder only through symbolic links, so only those are resolved.
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
    raise SourceError("missing", "no such file")  # a folder, or a special file such as a pipe


def _follow(root: Path, link: Path) -> int:
    """The mode of the target of a link; SourceError where the target lies outside the folder."""
    if not Path(os.path.realpath(link)).is_relative_to(os.path.realpath(root)):  # resolve() raises for loops
        raise SourceError("outside_folder", "leaves the data set's folder, not opened")
    return link.stat().st_mode


def _inside(parts: list[str], depth: int) -> str:
    """The part of a path behind its file; SourceError where the file is not a tar or npz."""
    inside, name = "/".join(parts[depth:]), parts[depth - 1]
    if not inside or name.endswith((".tar", ".npz")):
        return inside
    here = "/".join(parts[:depth])
    if name.endswith(COMPRESSED):
        raise SourceError("unreadable", _how_to_unpack(here))
    raise SourceError("missing", f"no such file: {here} is not a folder")


def _how_to_unpack(here: str) -> str:
    return (
        f"{here} is compressed, and single images cannot be read from it; make it an uncompressed tar: "
        f"zcat (bzcat, xzcat, zstdcat) {here} > {here.rsplit('.t', 1)[0]}.tar"
    )


def _source_error(error: OSError) -> SourceError:
    if error.errno in ABSENT:
        return SourceError("missing", "no such file")
    return SourceError("unreadable", error.strerror or "cannot be read")


def _list_tar(root: Path, path: str) -> list[str]:
    """The images in a tar, with its path in front."""
    try:
        file, _ = _locate(root, path)
        members = list_members(file, path)
    except SourceError as error:
        raise SourceError(error.problem, f"{path}: {error}" if path not in str(error) else str(error)) from error
    except OSError as error:
        raise SourceError("unreadable", f"{path}: {error.strerror or 'cannot be read'}") from error
    return [f"{path}/{name}" for name in members if _is_image(name)]


def find_images(root: Path, within: str = "", prefer: tuple[str, ...] = ()) -> Mapping[str, list[str]]:
    """All images of a folder by their file name without suffix, which is the image id in most data sets.

    Args:
        root: folder of the data set.
        within: only images below this subfolder or tar.
        prefer: where several images have one name, those in the first of these subfolders that has one are taken.

    Returns:
        Image id -> paths for `read_bytes`; several where the name is not unique, see `locate`.

    Raises:
        DataError: where there is no image at all.
    """
    inside = within.strip("/")
    found: dict[str, list[str]] = {}
    for path in list_images(root):
        if not inside or path.startswith(f"{inside}/"):
            found.setdefault(PurePosixPath(path).stem, []).append(path)
    if not found:
        raise DataError(_no_image(root, inside))
    return {name: _preferred(paths, prefer) for name, paths in found.items()}


def _no_image(root: Path, inside: str) -> str:
    packed = compressed_tars(root)
    hint = f"; {_how_to_unpack(packed[0])}" if packed else ""
    return (
        f"dataset.path = {root}: no image {f'in {inside} ' if inside else ''}there; put the images into "
        f"{root / (inside or 'images')}, or leave them in uncompressed .tar files{hint}"
    )


def _preferred(paths: list[str], prefer: tuple[str, ...]) -> list[str]:
    for folder in prefer:
        if chosen := [path for path in paths if path.startswith(f"{folder}/")]:
            return chosen
    return paths


def locate(names: Iterable[str], found: Mapping[str, list[str]], absent: str) -> list[str]:
    """The path of each named image.

    Args:
        names: image ids.
        found: what `find_images` returns.
        absent: path pattern for an image that is not there, `images/{}.jpg`; validation then reports it as missing.

    Returns:
        One path a name, in the order of `names`.

    Raises:
        DataError: for a name with two files, since the table does not say which of them it means.
    """
    named = list(names)
    double = sorted({name for name in named if len(found.get(name, ())) > 1})
    if double:
        raise DataError(
            f"{len(double)} images have several files, first {double[0]}: {', '.join(found[double[0]])}; "
            "keep one of them, or name the folder that counts as dataset.images (params.yaml)"
        )
    return [found[name][0] if name in found else absent.format(name) for name in named]
