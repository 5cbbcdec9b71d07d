"""Images in an HDF5 file, read in place: a dataset holds one image as encoded bytes, as ISIC 2024 publishes them.

Besides encoded bytes (one opaque value or string, or a list of uint8) these are read: the pixels of one image, uint8
(H, W) or (H, W, 3), and rows of a dataset that holds many of either kind. Nothing outside the file is opened: external
and soft links, virtual datasets and data in other files are refused.

HDF5 keeps its own index in memory: 0.3 GB a process for the 401,059 images of ISIC 2024, then no more.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.data.image_formats import sniff
from components.data.npz_arrays import encode_png
from components.data.source_error import SourceError

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"

FILES_OPEN = 8
"""Files that a process keeps open."""

MOST_BYTES = 2**30
"""Of one image, more than any that is accepted: a compressed dataset can state any size."""

SAMPLE = 200
"""Members of a large group that are opened to see whether all of its members are images: to open each of 400,000 takes
a minute."""

HDF5_ERRORS = (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError, NotImplementedError)
"""What h5py raises for damaged bytes."""

_DAMAGED = "{} is not an intact HDF5 file; copy it again from its source"


def read_dataset(file: Path, here: str, inside: str) -> bytes:
    """One image.

    Args:
        file: the HDF5 file.
        here: its path relative to the data set's folder, for messages.
        inside: the dataset, such as `ISIC_0015670` or `group/ISIC_0015670`, or a row of it: `images/17`.

    Returns:
        The bytes as they are stored, or a PNG of stored pixels.

    Raises:
        SourceError: where the file is damaged, has no such dataset, or it holds no image.
        OSError: where the file cannot be opened.
    """
    lock, files = _open_files(os.getpid())
    with lock:
        opened = _open(files, file, here)
        try:
            dataset, name, row = _find(opened.id, here, inside)
            return _row(dataset, here, name, row) if row else _whole(dataset, here, name)
        except SourceError:
            raise
        except HDF5_ERRORS as error:
            raise SourceError("unreadable", _DAMAGED.format(here)) from error


def list_datasets(file: Path, here: str) -> Mapping[str, tuple[int, bool]]:
    """Every dataset by its path in the file: how many images it holds, 0 for none, and whether they are its rows.

    In a group of many members some are opened, and all of them only where these are not images throughout.

    Raises:
        SourceError: where the file is damaged.
        OSError: where it cannot be opened.
    """
    state = file.stat()
    found = _listed(file.absolute(), state.st_size, state.st_mtime_ns)
    if found is None:
        raise SourceError("unreadable", _DAMAGED.format(here))
    return found


def is_hdf5(file: Path) -> bool:
    """Whether a file has the signature of HDF5: at its start, or behind a block of the user (HDF5 3.0, II.A).

    Raises:
        OSError: where it cannot be opened.
    """
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        place = 0
        while place < min(size, 2**20):
            stream.seek(place)
            if stream.read(len(SIGNATURE)) == SIGNATURE:
                return True
            place = 2 * place or 512
    return False


# --- open files -------------------------------------------------------------------------------------------------------

Version = tuple[int, int]  # size and time of change, so that a new file is noticed
Opened = OrderedDict[Path, "tuple[Version, h5py.File]"]


@lru_cache(maxsize=1)
def _open_files(process: int) -> tuple[threading.RLock, Opened]:  # noqa: ARG001  # a forked process opens its own
    return threading.RLock(), OrderedDict()


def _open(files: Opened, file: Path, here: str) -> h5py.File:
    import h5py

    file = file.absolute()
    with file.open("rb") as stream:  # raises where it cannot be opened, as h5py's own errors do not say why
        state = os.fstat(stream.fileno())
    version = (state.st_size, state.st_mtime_ns)
    known = files.pop(file, None)
    if known is not None and known[0] != version:
        known[1].close()
        known = None
    if known is None:
        try:
            known = (version, h5py.File(file, "r", locking=False))
        except HDF5_ERRORS as error:
            raise SourceError("unreadable", _DAMAGED.format(here)) from error
    files[file] = known
    while len(files) > FILES_OPEN:
        files.popitem(last=False)[1][1].close()
    return known[1]


# --- one dataset ------------------------------------------------------------------------------------------------------


def _find(place: h5py.h5g.GroupID, here: str, inside: str) -> tuple[h5py.h5d.DatasetID, str, str]:
    """The dataset, its path in the file, and the number of the row as text; empty: the whole dataset."""
    import h5py

    parts = inside.split("/")
    for depth, part in enumerate(parts, 1):
        name = "/".join(parts[:depth])
        if not isinstance(place, h5py.h5g.GroupID):
            break
        place = _child(place, here, part, name)
        if isinstance(place, h5py.h5d.DatasetID) and len(parts) - depth <= 1:
            return place, name, "".join(parts[depth:])
    raise SourceError("missing", f"{here} has no dataset {inside}")


def _child(group: h5py.h5g.GroupID, here: str, part: str, name: str) -> Any:
    """What a member's link leads to; only hard links, which stay inside the file, are followed."""
    import h5py

    key = part.encode("utf-8", "surrogateescape")
    if part in ("", ".") or not group.links.exists(key):
        raise SourceError("missing", f"{here} has no dataset {name}")
    if group.links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise SourceError("outside_folder", f"{here}: {name} is a link, not followed; store the image itself there")
    return h5py.h5o.open(group, key)


def _whole(dataset: h5py.h5d.DatasetID, here: str, name: str) -> bytes:
    _refuse_other_files(dataset, here, name)
    images, rows = _images(dataset)
    if not images or rows:
        hint = f"; it has rows, such as {name}/0" if rows else ""
        raise SourceError("unreadable", f"{here}: {name} is not one image ({_described(dataset)}){hint}")
    _refuse_size(dataset, dataset.shape, here, name)
    return _encoded(_values(dataset, here, name))


def _row(dataset: h5py.h5d.DatasetID, here: str, name: str, row: str) -> bytes:
    import h5py

    _refuse_other_files(dataset, here, name)
    images, rows = _images(dataset)
    if not rows:
        raise SourceError("missing", f"{here}: {name} has no rows of images ({_described(dataset)})")
    if not (row.isascii() and row.isdigit() and int(row) < images):
        raise SourceError("missing", f"{here}: {name} has rows 0 to {images - 1}, no {row!r}")
    _refuse_size(dataset, dataset.shape[1:], here, name)
    return _encoded(np.asarray(h5py.Dataset(dataset)[int(row)]))


def _images(dataset: h5py.h5d.DatasetID) -> tuple[int, bool]:
    """How many images a dataset holds by its shape and type, and whether they are its rows."""
    import h5py

    shape, kind = dataset.shape, dataset.dtype
    if shape is None:
        return 0, False
    of_bytes = kind == np.uint8 or kind == np.int8
    encoded = kind.kind in "VS" or h5py.check_vlen_dtype(kind) in (np.uint8, np.int8) or _is_text(kind)
    if encoded and kind.names is None:
        return (1, False) if shape in ((), (1,)) else (shape[0], True) if len(shape) == 1 else (0, False)
    if not of_bytes or 0 in shape:
        return 0, False
    if len(shape) == 1 or len(shape) == 2 or (len(shape) == 3 and shape[2] == 3):
        return 1, False
    return (shape[0], True) if len(shape) == 3 or (len(shape) == 4 and shape[3] == 3) else (0, False)


def _is_text(kind: np.dtype[Any]) -> bool:
    import h5py

    return h5py.check_string_dtype(kind) is not None


def _described(dataset: h5py.h5d.DatasetID) -> str:
    return f"{dataset.dtype}, shape {dataset.shape}"


def _refuse_other_files(dataset: h5py.h5d.DatasetID, here: str, name: str) -> None:
    import h5py

    stored = dataset.get_create_plist()
    if stored.get_external_count() or stored.get_layout() == h5py.h5d.VIRTUAL:
        raise SourceError(
            "outside_folder", f"{here}: the data of {name} are in another file, not opened; store them in this one"
        )


def _refuse_size(dataset: h5py.h5d.DatasetID, shape: tuple[int, ...], here: str, name: str) -> None:
    size = prod(shape) * dataset.dtype.itemsize
    if size > MOST_BYTES:
        raise SourceError("unreadable", f"{here}: {name} states {size} bytes, expected at most {MOST_BYTES}")


def _values(dataset: h5py.h5d.DatasetID, here: str, name: str) -> np.ndarray[Any, Any]:
    import h5py

    try:
        if dataset.dtype.hasobject:
            return np.asarray(h5py.Dataset(dataset)[()])
        values = np.empty(dataset.shape, dataset.dtype)  # a third of the time of h5py.Dataset's indexing
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        return values
    except HDF5_ERRORS as error:
        filters = dataset.get_create_plist()
        numbers = [filters.get_filter(index)[0] for index in range(filters.get_nfilters())]
        absent = [number for number in numbers if not h5py.h5z.filter_avail(number)]
        if absent:
            raise SourceError(
                "unreadable",
                f"{here}: {name} is compressed by the HDF5 filter {absent[0]}, which is not installed; rewrite the "
                "file with `h5repack -f GZIP=6`",
            ) from error
        raise


def _encoded(values: np.ndarray[Any, Any]) -> bytes:
    """The bytes of an encoded image, or pixels as PNG."""
    if values.dtype == object:  # one value of variable length
        value = values.reshape(-1)[0] if values.ndim == 0 or values.shape == (1,) else values
        return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
    if values.dtype.kind in "VS" or values.ndim == 1:
        return values.tobytes()
    return encode_png(values.view(np.uint8))


# --- all datasets -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=FILES_OPEN)
def _listed(file: Path, size: int, mtime_ns: int) -> dict[str, tuple[int, bool]] | None:  # noqa: ARG001  # the key
    """None where the file is damaged."""
    lock, files = _open_files(os.getpid())
    with lock:
        try:
            opened = _open(files, file, file.name)
            return dict(_walk(opened.id, file.name, "", set()))
        except (SourceError, *HDF5_ERRORS) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            return None


def _walk(group: h5py.h5g.GroupID, here: str, below: str, seen: set[int]) -> Iterator[tuple[str, tuple[int, bool]]]:
    """Datasets of a group and of those below it; each group once, as hard links can make a circle."""
    import h5py

    address = h5py.h5o.get_info(group).addr
    if address in seen:
        return
    seen.add(address)
    keys: list[bytes] = []
    group.links.iterate(keys.append)
    names = sorted(key.decode("utf-8", "surrogateescape") for key in keys)
    some = names[:: len(names) // SAMPLE] if len(names) > 10 * SAMPLE else names
    known = {name: _kind(group, here, name) for name in some}
    if len(some) < len(names):
        one_kind = set(known.values()) == {(1, False)}
        known = {name: (1, False) if one_kind else known.get(name) or _kind(group, here, name) for name in names}
    for name, kind in known.items():
        if isinstance(kind, tuple):
            yield below + name, kind
        else:
            yield from _walk(kind, here, f"{below}{name}/", seen)


def _kind(group: h5py.h5g.GroupID, here: str, name: str) -> Any:
    """The group itself, or what `list_datasets` says of a dataset."""
    import h5py

    try:
        member = _child(group, here, name, name)
        if isinstance(member, h5py.h5g.GroupID):
            return member
        if not isinstance(member, h5py.h5d.DatasetID):
            return 0, False
        images, rows = _images(member)
        if not images or (member.dtype.kind not in "VSO" and len(member.shape) > 1):
            return images, rows
        data = _row(member, here, name, "0") if rows else _whole(member, here, name)
        return (images, rows) if sniff(data) else (0, False)
    except SourceError:
        return 0, False
