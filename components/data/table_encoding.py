"""The encoding of a table: Unicode where the bytes prove it, another one where the data set itself is evidence for it.

Bytes that are no UTF-8 can be read by some thirty encodings, and no statistic about a short table tells cp1252 from
cp1250 or Shift_JIS from EUC-KR. So the table is read with its bytes kept (PEP 383), and each encoding reads the cells
that are used. Encodings that give names of files in the folder, or of columns in the settings, are taken; where all
that are left read these cells in the same way, the encoding is sure enough. Otherwise the error names the candidates.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import pairwise
from pathlib import Path, PurePosixPath

from components.base.errors import DataError
from components.base.normal_form import clean

COMMON = ("cp1252", "mac_roman", "cp1250", "cp850", "cp1251", "cp932", "gb18030")
"""Excel on Windows in western and central Europe, on old Macs, DOS, Cyrillic, Japanese, Chinese: named first."""

CANDIDATES = (
    *COMMON,
    "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp437", "cp852", "cp858", "cp866", "cp874",
    "iso8859_1", "iso8859_2", "iso8859_5", "iso8859_7", "iso8859_9", "iso8859_15", "koi8_r", "koi8_u",
    "mac_latin2", "mac_cyrillic", "mac_greek", "mac_turkish", "euc_jp", "big5", "cp949",
)  # fmt: skip
"""Encodings that spreadsheets write, in which ASCII is ASCII."""

MULTIBYTE = ("cp932", "gb18030", "euc_jp", "big5", "cp949")

KEPT = "ascii"
"""Name of the codec that keeps unknown bytes; with errors=SURROGATES."""

SURROGATES = "surrogateescape"
CHUNK = 2**20
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"),
          (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))  # fmt: skip


def find_encoding(file: Path, given: str | None) -> str | None:
    """The encoding of a text file, None where it is not sure.

    Args:
        file: the table.
        given: dataset.format.encoding; a byte order mark in the file is stronger.

    Raises:
        DataError: where the file is not in the given encoding, or has bytes of zero.
    """
    with file.open("rb") as opened:
        begin = opened.read(CHUNK)
    marked = next((name for mark, name in _MARKS if begin.startswith(mark)), None)
    name = marked or _known(given) or _zero_bytes(begin)
    if name in ("utf_16", "utf_32"):  # without a mark Python takes the order of this machine's bytes
        name = {"utf_16": _zero_bytes(begin) or "utf-16-le", "utf_32": "utf-32-le"}[name]
    fault = _fault(file, name or "utf-8")
    if fault is None:
        return name or "utf-8"
    if name is None:
        return None
    hint = "" if marked else "; correct dataset.format.encoding (params.yaml)"
    raise DataError(f"{file}: is not {name}: {fault}{hint}")


def _known(given: str | None) -> str | None:
    """Python's name of an encoding, such as utf_16 for UTF-16."""
    if given is None:
        return None
    try:
        "x".encode(given)  # refuses codecs that give no text, such as hex
        return codecs.lookup(given).name.replace("-", "_")
    except LookupError:
        raise DataError(
            f"dataset.format.encoding = {given!r} (params.yaml): is no encoding that Python knows; expected such as "
            f"{', '.join(COMMON)}"
        ) from None


def _zero_bytes(begin: bytes) -> str | None:
    """UTF-16 without a mark: of letters below U+0100 every second byte is zero, the first or the second of two."""
    even, odd = begin[::2].count(0), begin[1::2].count(0)
    if even + odd < len(begin) / 20 or min(even, odd) > max(even, odd) / 20:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _fault(file: Path, encoding: str) -> str | None:
    """What is wrong with the file in an encoding; None where it is all text. DataError for letters of zero."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    with file.open("rb") as opened:
        for chunk in iter(lambda: opened.read(CHUNK), b""):
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line = lines + error.object[: error.start].count(b"\n")
                return f"{error.reason} in line {line}"
            if "\0" in text:
                line = lines + text[: text.index("\0")].count("\n")
                raise DataError(
                    f"{file}: has a byte of zero in line {line}, so it is no text, or damaged; expected a table as CSV "
                    "in UTF-8, a workbook or parquet. Copy or export it again"
                )
            lines += text.count("\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return f"{error.reason} at its end"
    return None


def is_utf8(file: Path) -> bool:
    """Whether a file is valid UTF-8 with letters beyond ASCII, which text in another encoding hardly ever is."""
    return _fault(file, "utf-8") is None and _fault(file, "ascii") is not None


def is_kept(text: str) -> bool:
    """Whether a text has bytes whose encoding is not known."""
    return not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text)


def read_as(text: str, encoding: str) -> str | None:
    """A text with kept bytes in an encoding; None where it has bytes that are no letters there."""
    try:
        word = text.encode(KEPT, SURROGATES).decode(encoding)
    except UnicodeError:
        return None
    strange = any(unicodedata.category(letter) in ("Cc", "Cn", "Co", "Cs") for letter in word if letter > "\x7f")
    return None if strange else word


def settle(file: Path, texts: Iterable[str], evidence: Callable[[], Collection[str]]) -> str:
    """The encoding of a table's texts.

    Args:
        file: the table, for the message.
        texts: cells with kept bytes, those that are used; at least one.
        evidence: gives words that the table should have: names of columns and of files; called where it is needed.

    Raises:
        DataError: where encodings that fit the evidence equally read a text in different ways; it has the lines to
            paste.
    """
    shown = _covering(texts)
    left = {name: words for name in CANDIDATES if (words := _all_read(shown, name)) is not None}
    mixed = any(read_as(text, "utf-8") is not None for text in shown)
    if not _agree(left):
        known = {form for word in evidence() for form in _forms(word)}
        hits = {name: sum(not known.isdisjoint(_forms(word)) for word in words) for name, words in left.items()}
        best = max(hits.values(), default=0)
        left = {name: words for name, words in left.items() if hits[name] == best}
        if not best or not _agree(left):
            raise _not_sure(file, left, mixed)
    name = next(iter(left))
    if mixed and name not in MULTIBYTE:
        raise DataError(f"{file}: {_MIXED}")
    return name


def _covering(texts: Iterable[str]) -> list[str]:
    """Some of the texts, which have every pair of bytes that stands in any of them."""
    pairs: set[str] = set()
    chosen = []
    for text in texts:
        own = {first + second for first, second in pairwise(f"{text} ") if first > "\x7f"}
        if not own <= pairs:
            pairs |= own
            chosen.append(text)
    return chosen


def _all_read(texts: list[str], encoding: str) -> list[str] | None:
    words = [read_as(text, encoding) for text in texts]
    return None if None in words else [str(word) for word in words]


def _agree(left: Mapping[str, list[str]]) -> bool:
    return len(set(map(tuple, left.values()))) == 1


def _forms(word: str) -> set[str]:
    """A cell as it may name a file: itself, without folders, without its suffix."""
    name = PurePosixPath(clean(word).replace("\\", "/"))
    return {clean(word), name.name, name.stem}


_MIXED = (
    "some of its cells are UTF-8, others are not: it was put together from tables of two encodings; save each "
    "of them as UTF-8 first"
)
_OR_MIXED = f"\nOr {_MIXED}"


def _not_sure(file: Path, left: Mapping[str, list[str]], mixed: bool) -> DataError:
    """The error for an encoding that nothing decides; its words are the text on which the candidates differ most."""
    if not left:
        return DataError(
            f"{file}: is not UTF-8, and none of {len(CANDIDATES)} other encodings can read all of its cells; save the "
            "table as UTF-8, or name its encoding: dataset.format: {encoding: ...} (params.yaml)"
        )
    by_reading: dict[str, str] = {}
    for word, name in zip(max(zip(*left.values(), strict=True), key=lambda read: len(set(read))), left, strict=True):
        by_reading.setdefault(word, name)
    first = list(by_reading.items())[:8]
    return DataError(
        f"{file}: is not UTF-8, and its encoding is not sure: {', '.join(name for _, name in first)} read it in "
        "different ways. Excel on Windows in western Europe writes cp1252. Save the table as UTF-8 ('CSV UTF-8' in "
        f"Excel), or set the encoding in which its words are right (params.yaml):\n"
        f"  dataset:\n    format: {{encoding: {first[0][1]}}}{_OR_MIXED if mixed else ''}"
    ).with_words("one of its cells is " + ", ".join(f"{word!r} in {name}" for word, name in first))
