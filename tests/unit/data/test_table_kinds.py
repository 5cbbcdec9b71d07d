"""Files that are named as tables and are something else."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from components.base.errors import DataError
from tests.unit.data.table_files import TEXT, read, refused, table_of


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n \n", "is empty"),
        (b",,\n,,\n", "is empty"),
        (gzip.compress(TEXT.encode(), mtime=0), r"is compressed \(gzip\), no table; unpack it with `gunzip`"),
        (b"%PDF-1.7\n", "is a PDF"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page or XML"),
        (b"\xef\xbb\xbf  <html>", "is a web page or XML"),
        (b'<?xml version="1.0"?>', "is a web page or XML"),
        (b'{"image": "im1"}', "is JSON"),
        (b'[{"image": "im1"}]', "is JSON"),
        (b"\x89HDF\r\n\x1a\n", "is HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS; |Git LFS, no table"),
        (b"PK\3\4 cut", "is a workbook or zip that is not complete"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is no workbook that can be read"),
        (b"image,dx,patient\nim1,n\0v,P1\n", "has a byte of zero in line 2"),
        (b"PAR1 cut", "is no parquet table, or damaged"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_file_that_is_no_table_is_named_as_what_it_is(tmp_path: Path, content, message, suffix):
    with pytest.raises(DataError, match=message):
        read(table_of(tmp_path / f"t{suffix}", content))


def test_a_zip_and_text_named_parquet_are_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "t.csv", "w") as archive:
        archive.writestr("t.csv", TEXT)
    assert "is a zip archive, no table; unpack it" in str(refused(tmp_path / "t.csv"))
    assert "is no parquet table" in str(refused(table_of(tmp_path / "t.parquet", TEXT)))
