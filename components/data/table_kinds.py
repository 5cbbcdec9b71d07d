"""What kind of file a table is, by its first bytes: a suffix may be wrong."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Literal

from components.base.errors import DataError

Kind = Literal["text", "workbook", "parquet"]

# First bytes -> what such a file is, and what to do with it.
OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with `git lfs pull`"),
    (b"/annex/objects/", "a pointer of git-annex", "fetch the file with `git annex get`"),
    (b"\x1f\x8b", "compressed (gzip)", "unpack it with `gunzip`"),
    (b"BZh", "compressed (bzip2)", "unpack it with `bunzip2`"),
    (b"\xfd7zXZ", "compressed (xz)", "unpack it with `unxz`"),
    (b"(\xb5/\xfd", "compressed (zstd)", "unpack it with `unzstd`"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"%PDF", "a PDF", "export the table as CSV or .xlsx"),
    (b"{\\rtf", "a text document (RTF)", "export the table as CSV or .xlsx"),
    (b"\x89HDF", "HDF5", "export the table as CSV or parquet"),
    (b"SQLite format 3", "a database (SQLite)", "export the table as CSV or parquet"),
    (b"ARROW1", "Feather", "save it as parquet"),
    (b"Obj\x01", "Avro", "save it as parquet"),
    (b"$FL", "SPSS data", "export the table as CSV"),
    (b"<stata_dta>", "Stata data", "export the table as CSV"),
    (b"\x93NUMPY", "a numpy array", "save it as CSV or parquet"),
    (b"\x80\x03", "a pickle", "save it as CSV or parquet"),
    (b"\x80\x04", "a pickle", "save it as CSV or parquet"),
    (b"\x80\x05", "a pickle", "save it as CSV or parquet"),
    (b"\x89PNG", "an image", "name the table"),
    (b"\xff\xd8\xff", "an image", "name the table"),
)
_MARKUP = re.compile(rb"\s*<(!doctype|html|head|body|table|meta|\?xml|!--)", re.IGNORECASE)
_JSON = re.compile(rb"\s*(\[\s*[\[{]|\{\s*[\"}])")


def kind_of(file: Path) -> Kind:
    """Whether a file is text, a workbook or parquet.

    Raises:
        DataError: where it is something else; it says what, and what to do.
    """
    with file.open("rb") as opened:
        begin = opened.read(512)
    if begin.startswith(b"PAR1"):
        return "parquet"
    if begin.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):  # of older Office files, and of those with a password
        return "workbook"
    if begin.startswith(b"PK"):
        return _kind_of_zip(file)
    for magic, what, remedy in OTHERS:
        if begin.startswith(magic):
            raise DataError(f"{file}: is {what}, no table; {remedy}")
    plain = begin.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"")
    if _MARKUP.match(plain):
        raise DataError(
            f"{file}: is a web page or XML, no table; export the table as CSV or .xlsx, or download it again"
        )
    if _JSON.match(plain):
        raise DataError(f"{file}: is JSON, no table; export the table as CSV or parquet")
    return "text"


def _kind_of_zip(file: Path) -> Kind:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        raise DataError(f"{file}: is a workbook or zip that is not complete; copy it again") from None
    if any(name.startswith("xl/") for name in names) or {"content.xml", "mimetype"} <= set(names):
        return "workbook"
    raise DataError(f"{file}: is a zip archive, no table; unpack it")
