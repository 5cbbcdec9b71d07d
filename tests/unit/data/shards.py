"""Tar files with images, and the kind of a reading error."""

import io
import tarfile
from pathlib import Path

import pytest

from components.data.source_error import SourceError
from components.data.sources import read_bytes


def pack_tar(file: Path, members: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=form) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file


def problem_of(root: Path, path: str) -> str:
    with pytest.raises(SourceError) as error:
        read_bytes(root, path)
    assert str(root) not in str(error.value)
    return error.value.problem
