"""Images in an uncompressed tar, read in place: the index gives a member's offset, so it takes one seek and one read.

The index of a tar is kept in memory, as walking the headers of a large shard takes seconds.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal

from components.data.source_error import SourceError

Place = tuple[int, int]  # offset and size of a member, bytes
Refused = Literal["outside", "link"]  # why a member is not read

TARS_INDEXED = 64
"""Indices kept by a process; 1,000 members are 0.2 MB."""


def read_member(file: Path, here: str, member: str) -> bytes:
    """The bytes of one member.

    Args:
        file: the tar.
        here: its path relative to the data set's folder, for messages.
        member: name of the member.

    Raises:
        SourceError: where the tar is damaged or has no such regular file.
        OSError: where the tar cannot be opened.
    """
    with file.open("rb") as stream:
        place = members_of(stream, file, here).get(member)
        if place is None:
            raise SourceError("missing", f"{here} has no member {member}")
        if isinstance(place, str):
            raise SourceError("outside_folder" if place == "outside" else "unreadable", _REFUSED[place].format(here))
        offset, size = place
        stream.seek(offset)
        return stream.read(size)


def members_of(stream: IO[bytes], file: Path, here: str) -> Mapping[str, Place | Refused]:
    """Every member that is no folder: where its bytes are in the tar, or why it is not read.

    Args:
        stream: the opened tar.
        file: its path, under which the index is kept in memory.
        here: its path relative to the data set's folder, for messages.

    Raises:
        SourceError: where the tar is damaged.
    """
    state = os.fstat(stream.fileno())
    members, damage = _members(file.absolute(), state.st_size, state.st_mtime_ns)
    if damage:
        raise SourceError("unreadable", f"{here} is not an intact tar ({damage}); copy it again from its source")
    return members


_REFUSED: Mapping[Refused, str] = {
    "outside": "{}: the member's name leaves the archive, not read",
    "link": "{}: the member is a link, a device or sparse, not read; pack the images themselves (tar --dereference)",
}


@lru_cache(maxsize=TARS_INDEXED)
def _members(file: Path, size: int, mtime_ns: int) -> tuple[dict[str, Place | Refused], str]:  # noqa: ARG001  # the key
    """The members of a tar, and what is wrong with it; size and time are arguments so that a new file is noticed."""
    members: dict[str, Place | Refused] = {}
    try:
        with file.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            while (member := tar.next()) is not None:
                if member.size < 0 or member.offset_data + member.size > size:
                    return {}, f"{member.name} extends beyond the end"
                tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
                if not member.isdir():
                    members[_normalise(member.name)] = _place(member)
            return members, _ending(stream, tar.offset)
    except (tarfile.TarError, ValueError, OverflowError, EOFError, KeyError, IndexError, RecursionError) as error:
        return {}, str(error) or type(error).__name__


def _normalise(name: str) -> str:
    """`./a/b.jpg`, as `tar -c .` writes it, is `a/b.jpg`."""
    return name if name.startswith("/") else "/".join(part for part in name.split("/") if part not in ("", "."))


def _place(member: tarfile.TarInfo) -> Place | Refused:
    if member.name.startswith("/") or "\\" in member.name or ".." in member.name.split("/"):
        return "outside"
    if not member.isreg() or member.issparse():
        return "link"
    return member.offset_data, member.size


def _ending(stream: IO[bytes], offset: int) -> str:
    """Empty where the tar ends as it should, since tarfile stops at a damaged header as it does at the end."""
    stream.seek(offset)
    block = stream.read(tarfile.BLOCKSIZE)
    return f"damaged header at byte {offset}" if block.strip(b"\0") else ""
