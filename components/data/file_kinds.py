"""What a file is that lies in a data set's folder: an image, a table, an archive ..., by its name or its first bytes.

Each kind is counted, so that the numbers of all kinds add up to the number of files. A kind that can hide images has a
remedy, and is warned of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from components.data import tables
from components.data.image_formats import CONVERTED, format_of_name, readable, sniff

IMAGE = "images"
UNREAD_IMAGE = "images not read"
TABLE = "tables"
DOCUMENT = "texts and documents"
OPENED_ARCHIVE = "archives read"
ARRAY = "arrays"
ARCHIVE = "archives not read"
ARRAY_FILE = "array files not read"
VIDEO = "films and sound"
SYSTEM = "system files"
HIDDEN = "hidden files"
LEFTOVER = "backups and unfinished downloads"
EMPTY = "empty files"
BROKEN_LINK = "broken links"
LINK_OUTSIDE = "links to files outside"
LINK_TO_FOLDER = "links to folders"
SPECIAL = "special files"
CLOSED_FOLDER = "folders that cannot be opened"
CLOSED_FILE = "files that cannot be opened"
BAD_NAME = "names that cannot be used"
BAD_MEMBER = "members of tars that are no files"
OTHER = "other files"

REMEDIES: Mapping[str, str] = {
    HIDDEN: "name or folder begins with a dot or is a system's: rename those that count",
    ARCHIVE: "unpack them into the data set's folder, or pack the images as an uncompressed .tar",
    ARRAY_FILE: "save their images as PNG",
    VIDEO: "save the intended picture as JPEG or PNG",
    LEFTOVER: "fetch the file again, or give the copy the suffix of its format if it counts",
    EMPTY: "fetch them again",
    BROKEN_LINK: "put the files there to which they lead",
    LINK_OUTSIDE: "nothing outside the data set's folder is opened: copy the files into it (cp -L)",
    LINK_TO_FOLDER: "they are not followed, since a file would count twice or lie outside: copy the folders (cp -rL); "
    "files that lie elsewhere in the data set's folder are read there",
    SPECIAL: "they are no files: take them out",
    CLOSED_FOLDER: "correct the permissions (chmod -R u+rX), as what is in them is not known",
    CLOSED_FILE: "correct the permissions (chmod u+r)",
    BAD_NAME: "rename them: a name is UTF-8 (convmv -f cp1252 -t utf8 --notest) and has no backslash",
    BAD_MEMBER: "a link, a device, or a name that leaves the archive: pack the images themselves (tar --dereference)",
    OTHER: "neither name nor first bytes are those of an image or a table: convert those that are images to PNG",
}
"""Kinds of files that are left out and may hold images, with what to do. Other kinds are only counted."""

IMAGE_LIKE = frozenset({IMAGE, UNREAD_IMAGE})
CONTAINERS = (".tar", ".npz", ".hdf5", ".h5", ".parquet", ".arrow")
"""Suffixes of files whose content is listed and read in place; a table without images is then a table."""

COMPRESSED_TARS = (".tar.bz2", ".tar.gz", ".tar.xz", ".tar.zst", ".tbz2", ".tgz", ".txz")

_SUFFIXES = {
    TABLE: (*tables.SUFFIXES, ".numbers", ".dbf", ".sav", ".dta", ".sas7bdat", ".feather", ".sqlite", ".db"),
    ARCHIVE: (
        ".zip", ".rar", ".7z", ".gz", ".bz2", ".xz", ".zst", ".lz", ".lz4", ".lzma", ".z", ".cab", ".iso", ".dmg",
        ".tgz", ".tbz2", ".txz", ".zipx", ".z01", ".lmdb", ".mdb", ".tfrecord", ".tfrecords", ".rec", ".wim",
    ),
    ARRAY_FILE: (".npy", ".mat", ".pkl", ".pickle", ".hdf", ".pt", ".zarr", ".joblib"),
    VIDEO: (
        ".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".3gp", ".mts", ".m2ts", ".flv",
        ".ogv", ".mp3", ".wav", ".m4a", ".ogg", ".flac", ".aac",
    ),
    LEFTOVER: (
        ".bak", ".orig", ".old", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".swp", ".filepart",
        ".!ut", ".aria2",
    ),
    DOCUMENT: (
        ".md", ".rst", ".pdf", ".doc", ".docx", ".rtf", ".odt", ".ppt", ".pptx", ".odp", ".pages", ".htm", ".html",
        ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log", ".bib", ".tex", ".py",
        ".ipynb", ".r", ".m", ".sh", ".bat", ".css", ".js", ".sql", ".md5", ".sha1", ".sha256", ".sig", ".url", ".dvc",
        ".cls", ".lock", ".eml", ".msg", ".ics", ".xmp", ".aae", ".thm", ".lnk", ".webloc", ".torrent", ".mhtml",
    ),
}  # fmt: skip
_BY_SUFFIX = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes}
_SYSTEM_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", ".ds_store", "dicomdir"})
_SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})
_TEXT_NAMES = frozenset(
    {
        "readme", "license", "licence", "copying", "notice", "authors", "changelog", "citation", "attribution",
        "makefile", "dockerfile", "sha256sums", "md5sums", "version",
    }
)  # fmt: skip
_COPY = re.compile(r"(~|\.bak\d*|\(\d+\)\.part)$", re.IGNORECASE)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not shown by its system, and belongs to it or to a program."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES or name.lower() in _SYSTEM_FOLDERS


def kind_of_hidden(path: str) -> str:
    """SYSTEM, or HIDDEN for a file that a person may have hidden, such as an image."""
    parts = PurePosixPath(path).parts
    of_system = any(part.lower() in _SYSTEM_FOLDERS or part.lower() in _SYSTEM_NAMES for part in parts)
    if of_system or parts[-1].startswith("._"):
        return SYSTEM
    return HIDDEN if format_of_name(parts[-1]) else SYSTEM


def is_container(name: str) -> bool:
    """Whether a file's content is listed and read in place."""
    return name.lower().endswith(CONTAINERS)


def kind_of_name(name: str) -> str | None:
    """The kind by the name alone; None where only the first bytes can tell."""
    form = format_of_name(name)
    if form is not None:
        return IMAGE if _is_read(form) else None
    if is_container(name):
        return OPENED_ARCHIVE
    lower = name.lower()
    if _COPY.search(lower):
        return LEFTOVER
    kind = _BY_SUFFIX.get(PurePosixPath(lower).suffix)
    return kind or (DOCUMENT if lower in _TEXT_NAMES else None)


def kind_of_bytes(name: str, head: bytes) -> str:
    """The kind of a file whose name does not tell, by its first bytes (`image_formats.HEAD` of them)."""
    if not head:
        return UNREAD_IMAGE if format_of_name(name) else EMPTY
    form = sniff(head)
    if format_of_name(name) == "RAW" and form == "TIFF":  # the container of most raw formats, with a small preview
        return UNREAD_IMAGE
    if form is not None:
        return IMAGE if _is_read(form) else UNREAD_IMAGE
    if format_of_name(name):
        return UNREAD_IMAGE
    starts = {b"PK\3\4": ARCHIVE, b"\x1f\x8b": ARCHIVE, b"Rar!": ARCHIVE, b"7z\xbc\xaf": ARCHIVE, b"BZh": ARCHIVE,
              b"\xfd7zXZ": ARCHIVE, b"(\xb5/\xfd": ARCHIVE, b"%PDF": DOCUMENT, b"\x89HDF": ARRAY_FILE,
              b"PAR1": TABLE, b"\x93NUMPY": ARRAY_FILE, b"\x1aE\xdf\xa3": VIDEO, b"\0\5\x16\7": SYSTEM}  # fmt: skip
    if head[257:262] == b"ustar":
        return ARCHIVE
    if head[4:8] == b"ftyp" or (head.startswith(b"RIFF") and head[8:12] == b"AVI "):
        return VIDEO
    return next((kind for start, kind in starts.items() if head.startswith(start)), OTHER)


def _is_read(form: str) -> bool:
    return form in readable() or form in CONVERTED


def has_usable_name(name: str) -> bool:
    """Whether a file's name can be a row's path: UTF-8, without backslash and without a zero byte."""
    return "\\" not in name and not any("\ud800" <= letter <= "\udfff" for letter in name)


def show_name(name: str) -> str:
    """A name with bytes that are no UTF-8 as one that can be written to a file."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
