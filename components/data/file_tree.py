"""Every file below a data set's folder with its kind, members of tars too: images, and what else is there.

One pass over the folder. The first bytes of a file are read only where its name does not tell its kind. Links to
folders are not followed, since their files would count twice or lie outside.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from components.data import file_kinds as kinds
from components.data.arrow_images import count_rows, row_names
from components.data.hdf5_images import is_hdf5, list_datasets
from components.data.image_formats import HEAD, format_of_name
from components.data.npz_arrays import count_images
from components.data.source_error import SourceError
from components.data.tar_members import Refused, members_of


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file, or one member of a tar, or one array of an npz."""

    path: str
    """POSIX, relative to the data set's folder, as `sources.read_bytes` takes it; its letters are those on the disk."""
    kind: str
    """One of `file_kinds`."""
    images: int = 1
    """How many images it can hold: 1, or the rows of an array; 0 where an array holds none."""

    @property
    def is_candidate(self) -> bool:
        """Whether a person would take it for an image: readable or not, a link that is broken, a name with an error."""
        if self.kind in kinds.IMAGE_LIKE:
            return True
        return self.kind in _MEANT_AS_IMAGE and format_of_name(self.path) is not None


_MEANT_AS_IMAGE = frozenset(
    {kinds.BROKEN_LINK, kinds.LINK_OUTSIDE, kinds.SPECIAL, kinds.BAD_NAME, kinds.BAD_MEMBER, kinds.CLOSED_FILE}
)


def list_files(root: Path) -> list[FoundFile]:
    """Every file below a folder, each once, sorted by path.

    Raises:
        SourceError: for an archive that cannot be read, since an incomplete list would drop images silently; its name
            is in the words of the error.
    """
    try:
        return sorted(_walk(root), key=lambda file: file.path)
    except SourceError as error:
        raise SourceError(
            error.problem,
            f"dataset.path = {root}: an archive in it cannot be read; copy it again from its source, or take it out",
        ).with_words(str(error)) from error


def list_images(root: Path) -> list[str]:
    """Every image below a folder that can be read, members of tars too, as sorted paths; hidden ones are left out.

    Arrays of an npz are not listed, as they may be masks or labels.

    Raises:
        SourceError: see `list_files`.
    """
    return [file.path for file in list_files(root) if file.kind == kinds.IMAGE]


def _walk(root: Path) -> Iterator[FoundFile]:
    top = os.path.realpath(root)
    folders: list[tuple[str, bool]] = [("", False)]  # path below root with its slash, whether it is hidden
    while folders:
        below, hidden = folders.pop()
        try:
            with os.scandir(f"{root}/{below}") as listed:
                entries = list(listed)
        except OSError:
            yield FoundFile(kinds.show_name(below.rstrip("/")) or ".", kinds.CLOSED_FOLDER)
            continue
        for entry in entries:
            path = below + entry.name
            concealed = hidden or kinds.is_hidden(entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.append((path + "/", concealed))
            elif entry.is_symlink():
                yield from _link(entry, path, top, concealed)
            else:
                yield from _file(entry, path, concealed)


def _link(entry: os.DirEntry[str], path: str, top: str, hidden: bool) -> Iterator[FoundFile]:
    kind = _kind_of_link(Path(os.path.realpath(entry.path)), top)  # resolve() raises for loops
    if kind is None:
        yield from _file(entry, path, hidden)
    else:
        yield FoundFile(kinds.show_name(path), kind)


def _kind_of_link(target: Path, top: str) -> str | None:
    """None where a link leads to a file inside the folder."""
    try:
        if not target.exists():
            return kinds.BROKEN_LINK
        if target.is_dir():
            return kinds.LINK_TO_FOLDER
    except OSError:  # it leads through a folder that cannot be opened
        return kinds.CLOSED_FILE
    return None if target.is_relative_to(top) else kinds.LINK_OUTSIDE


def _file(entry: os.DirEntry[str], path: str, hidden: bool) -> Iterator[FoundFile]:
    """A file, and what is in it where it is a tar or an npz."""
    if not entry.is_file():
        yield FoundFile(kinds.show_name(path), kinds.SPECIAL)
    elif not kinds.has_usable_name(path):
        yield FoundFile(kinds.show_name(path), kinds.BAD_NAME)
    elif hidden:
        yield FoundFile(path, kinds.kind_of_hidden(path))
    else:
        kind = kinds.kind_of_name(entry.name)
        if kind == kinds.OPENED_ARCHIVE:
            yield from _OPENERS[PurePosixPath(entry.name.lower()).suffix](entry.path, path)
        else:
            yield FoundFile(path, kind or _kind_by_bytes(entry))


def _kind_by_bytes(entry: os.DirEntry[str]) -> str:
    try:
        with open(entry.path, "rb", buffering=0) as stream:  # noqa: PTH123  # many files: no Path for each
            return kinds.kind_of_bytes(entry.name, stream.read(HEAD))
    except OSError:
        return kinds.CLOSED_FILE


def _tar(file: str, path: str) -> Iterator[FoundFile]:
    yield FoundFile(path, kinds.OPENED_ARCHIVE)
    try:
        with open(file, "rb") as stream:  # noqa: PTH123  # a path as text, as above
            for name, place in members_of(stream, Path(file), path).items():
                yield FoundFile(f"{path}/{kinds.show_name(name)}", _kind_of_member(name, place, stream.fileno()))
    except SourceError as error:
        raise SourceError(error.problem, f"{path}: {error}" if path not in str(error) else str(error)) from error
    except OSError as error:
        raise SourceError("unreadable", f"{path}: {error.strerror or 'cannot be read'}") from error


def _kind_of_member(name: str, place: tuple[int, int] | Refused, stream: int) -> str:
    if not isinstance(place, tuple):
        return kinds.BAD_MEMBER
    if not kinds.has_usable_name(name):
        return kinds.BAD_NAME
    if any(kinds.is_hidden(part) for part in PurePosixPath(name).parts):
        return kinds.kind_of_hidden(name)
    kind = kinds.kind_of_name(name)
    if kind == kinds.OPENED_ARCHIVE:  # an archive in an archive
        return kinds.ARCHIVE
    offset, size = place
    return kind or kinds.kind_of_bytes(PurePosixPath(name).name, os.pread(stream, min(size, HEAD), offset))


def _npz(file: str, path: str) -> Iterator[FoundFile]:
    try:
        arrays = count_images(Path(file))
    except (SourceError, OSError):
        yield FoundFile(path, kinds.ARRAY_FILE)
        return
    yield FoundFile(path, kinds.OPENED_ARCHIVE)
    for name, images in arrays.items():
        yield FoundFile(f"{path}/{kinds.show_name(name)}", kinds.ARRAY, images)


def _hdf5(file: str, path: str) -> Iterator[FoundFile]:
    """Raises for a damaged file, as of a tar."""
    try:
        datasets = list_datasets(Path(file), path) if is_hdf5(Path(file)) else {}
    except OSError:
        yield FoundFile(path, kinds.CLOSED_FILE)
        return
    if not any(images for images, _ in datasets.values()):
        yield FoundFile(path, kinds.ARRAY_FILE)
        return
    yield FoundFile(path, kinds.OPENED_ARCHIVE)
    for name, (images, rows) in datasets.items():
        shown = f"{path}/{kinds.show_name(name)}"
        if rows or not images:
            yield FoundFile(shown, kinds.ARRAY, images)
        else:
            yield FoundFile(shown, kinds.IMAGE if kinds.has_usable_name(name) else kinds.BAD_NAME)


def _rows(file: str, path: str) -> Iterator[FoundFile]:
    """A parquet or Arrow table: its rows where it has a column of images, else the table."""
    try:
        columns = count_rows(Path(file))
    except (SourceError, OSError):
        columns = {}
    if not columns:
        yield FoundFile(path, kinds.TABLE)
        return
    yield FoundFile(path, kinds.OPENED_ARCHIVE)
    (_, rows), *others = columns.items()
    yield from (FoundFile(f"{path}/{name}", kinds.IMAGE) for name in row_names(rows))
    yield from (FoundFile(f"{path}/{kinds.show_name(name)}", kinds.ARRAY, count) for name, count in others)


_OPENERS: Mapping[str, Callable[[str, str], Iterator[FoundFile]]] = {
    ".arrow": _rows, ".h5": _hdf5, ".hdf5": _hdf5, ".npz": _npz, ".parquet": _rows, ".tar": _tar,
}  # fmt: skip
"""Suffix of `file_kinds.CONTAINERS` -> what lists the content of such a file."""
