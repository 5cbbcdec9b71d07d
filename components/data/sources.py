"""Where an image's bytes are: one relative path names a file, or a place inside a file that holds many images.

Nothing outside the data set's folder is opened, whatever links or paths say. Names of images in a table are compared
with the names of files in one Unicode form (`normal_form`); a path keeps the letters that it has on the disk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from components.base.errors import DataError
from components.base.normal_form import clean, clean_id, clean_path
from components.data import arrow_images, dicom_images
from components.data.file_kinds import COMPRESSED_TARS, IMAGE, REMEDIES
from components.data.file_tree import FoundFile, list_files
from components.data.hdf5_images import read_dataset
from components.data.image_formats import format_of_name, image_name, sniff
from components.data.npz_arrays import read_row
from components.data.path_column import is_absolute
from components.data.read_report import ReadReport
from components.data.source_error import SourceError
from components.data.tar_members import read_member

CONTAINERS: Mapping[str, Callable[[Path, str, str], bytes]] = {
    ".arrow": arrow_images.read_row,
    ".dcm": dicom_images.read_frame,
    ".h5": read_dataset,
    ".hdf5": read_dataset,
    ".npz": read_row,
    ".parquet": arrow_images.read_row,
    ".tar": read_member,
}
"""Suffix of a file that holds many images -> what reads one: the file, its path for messages, the place inside."""

CONVERTERS: Mapping[str, Callable[[bytes, str], bytes]] = {"DICOM": dicom_images.convert}
"""Format by `image_formats`, first bytes before suffix -> what makes an image that Pillow decodes of a file's bytes;
the second argument is its path, for messages."""

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)  # no file can be there


def read_bytes(root: Path, path: str) -> bytes:
    """The encoded image at a path.

    Args:
        root: folder of the data set.
        path: POSIX path relative to `root`: `a/b.jpg` is a file, `shards/000.tar/a/b.jpg` a member of an uncompressed
            tar, `dermamnist_64.npz/train_images/17.png` (or `.../17`) a row of an array in an npz,
            `train-image.hdf5/ISIC_1` a dataset, `train.parquet/17` a row, `a.dcm/2` a frame of several.

    Returns:
        The bytes of the file or member, or a PNG of the row.

    Raises:
        SourceError: where there is no such image, it lies outside of `root` or cannot be read. Nothing else is raised.
    """
    data = read_stored(root, path)
    convert = CONVERTERS.get(sniff(data) or format_of_name(path) or "")
    return convert(data, path) if convert else data


def read_stored(root: Path, path: str) -> bytes:
    """The bytes at a path as they are stored: as `read_bytes`, but of a DICOM file the whole file.

    Raises:
        SourceError: see `read_bytes`.
    """
    try:
        file, inside = _locate(root, path)
        if not inside:
            return file.read_bytes()
        here = path[: -len(inside) - 1]
        return CONTAINERS[PurePosixPath(here).suffix.lower()](file, here, inside)
    except OSError as error:
        raise _source_error(error) from error


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
    if not inside or name.lower().endswith(tuple(CONTAINERS)):
        return inside
    here = "/".join(parts[:depth])
    if name.lower().endswith(COMPRESSED_TARS):
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


# --- names of images and the files they mean --------------------------------------------------------------------------


def find_images(root: Path, within: str = "", prefer: tuple[str, ...] = ()) -> Mapping[str, list[str]]:
    """All images of a folder by their file name without suffix, which is the image id in most data sets.

    Args:
        root: folder of the data set.
        within: only images below this subfolder or tar.
        prefer: where several images have one name, those in the first of these subfolders that has one are taken.

    Returns:
        Image id in normal form -> paths for `read_bytes`; several where the name is not unique, see `locate`. A file
        that looks like an image and cannot be read counts where no other file has its name: validation says why.

    Raises:
        DataError: where there is no image at all; it says what else is there.
    """
    inside = _subfolder(root, within)
    files = [file for file in list_files(root) if not inside or clean(file.path).startswith(f"{clean(inside)}/")]
    found: dict[str, list[FoundFile]] = {}
    for file in files:
        if file.is_candidate:
            found.setdefault(clean(image_name(file.path)), []).append(file)
    if not found:
        raise _no_image(root, inside, files)
    return {name: _preferred(_readable_first(paths), prefer) for name, paths in found.items()}


def _subfolder(root: Path, within: str) -> str:
    """The path below `root` of a subfolder or tar, to where a link leads that stays inside."""
    inside = PurePosixPath(within.replace("\\", "/").strip("/")).as_posix()
    place = Path(root) / inside
    if place.is_symlink() and Path(os.path.realpath(place)).is_relative_to(os.path.realpath(root)):
        return Path(os.path.realpath(place)).relative_to(os.path.realpath(root)).as_posix()
    return "" if inside == "." else inside


def _readable_first(files: list[FoundFile]) -> list[str]:
    return [file.path for file in files if file.kind == IMAGE] or [file.path for file in files]


def _preferred(paths: list[str], prefer: tuple[str, ...]) -> list[str]:
    for folder in prefer:
        if chosen := [path for path in paths if path.startswith(f"{folder}/")]:
            return chosen
    return paths


def _no_image(root: Path, inside: str, files: list[FoundFile]) -> DataError:
    """The error where a folder has no image, with what else is in it."""
    packed = sorted(file.path for file in files if file.path.lower().endswith(COMPRESSED_TARS))
    others = Counter(file.kind for file in files)
    hints = [f"; there are {count} {kind}: {REMEDIES[kind]}" for kind, count in others.items() if kind in REMEDIES]
    return DataError(
        f"dataset.path = {root}: no image {f'in {inside} ' if inside else ''}there; put the images into "
        f"{root / (inside or 'images')}, or leave them in uncompressed .tar files{''.join(hints)}"
    ).with_words(_how_to_unpack(packed[0]) if packed else "")


def locate(
    names: Iterable[str], found: Mapping[str, list[str]], absent: str, report: ReadReport | None = None
) -> list[str]:
    """The path of each named image.

    A name is compared in normal form, then with its file suffix, and at last without regard to case, where one name of
    the table and one file differ in nothing else.

    Args:
        names: image ids.
        found: what `find_images` returns.
        absent: path pattern for an image that is not there, `images/{}.jpg`; validation then reports it as missing.
        report: gets a warning about names that were found without regard to case.

    Returns:
        One path a name, in the order of `names`.

    Raises:
        DataError: for a name with two files, since the table does not say which of them it means.
    """
    named = list(names)
    places = {name: _find(name, found) for name in set(named)}
    left = [name for name, paths in places.items() if not paths and name]
    by_case = _match_case(left, found, {clean(name) for name in places})
    places.update(by_case)
    double = sorted(name for name, paths in places.items() if len(paths) > 1)
    if double:
        raise DataError(
            f"{len(double)} images have several files; keep one of them, or name the folder that counts as "
            "dataset.images (params.yaml)"
        ).with_words(f"first {double[0]}: {', '.join(places[double[0]])}")
    if by_case and report is not None:
        report.warn(
            "other_case",
            len(by_case),
            f"{len(by_case)} images were found by names that differ in upper and lower case from the table's",
            (f"{name!r} is {paths[0]!r}" for name, paths in sorted(by_case.items())),
        )
    return [places[name][0] if places[name] else absent.format(name) for name in named]


def _find(name: str, found: Mapping[str, list[str]]) -> list[str]:
    """Files with this name, in normal form; of a name with a suffix, those with this suffix."""
    tidy = clean(name)
    for form in (tidy, clean_id(tidy)):
        if form in found:
            return found[form]
    if is_absolute(tidy):
        return []
    ends = f"/{clean_path(tidy)}"  # with folders, with a suffix, or with both
    named = found.get(clean(image_name(ends)), ())
    return [path for path in named if f"/{clean_path(path)}".removesuffix(_suffix(path, ends)).endswith(ends)]


def _suffix(path: str, of: str) -> str:
    """The suffix of a file, where the name in the table is without one."""
    return "" if format_of_name(of) else PurePosixPath(clean_path(path)).suffix


def _match_case(names: list[str], found: Mapping[str, list[str]], asked: Iterable[str]) -> dict[str, list[str]]:
    """Files for names that differ from theirs only in case; none where two names or two files would be one."""
    if not names:
        return {}
    files: dict[str, list[str]] = {}
    for stem in found:
        files.setdefault(stem.casefold(), []).append(stem)
    times = Counter(image_name(name).casefold() for name in asked)
    matched = {}
    for name in names:
        tidy = clean(name).casefold()
        for form in {tidy, image_name(tidy)}:
            stems = files.get(form, [])
            if len(stems) != 1 or times[image_name(tidy)] != 1:
                continue
            paths = found[stems[0]]
            if form != tidy:  # the name has a suffix, which must be the file's
                paths = [path for path in paths if clean(PurePosixPath(path).name).casefold() == tidy]
            if paths:
                matched[name] = paths
    return matched
