"""accepted_by_hand.csv: reasons that a person overrules, each for an image that is named by its path or by an id."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from components.base.errors import DataError
from components.base.normal_form import clean
from components.data.image_names import ImageNames
from components.data.records import Raw
from components.validation.quarantine import BY_HAND, IMAGES, OUTSIDE_MAP

ACCEPTED_BY_HAND = "accepted_by_hand.csv"  # in the data set's folder, so that it is versioned with the images
ACCEPTED_COLUMNS = ("image_id", "rule", "who", "why")
IMAGE = ("image_id", "path")  # columns of the file that name the image: one of them, or both
SEPARATORS = (",", ";", "\t")

_MEANING = {
    "rule": "the rule's name, as in the quarantine",
    "who": "the name of the person who accepts the image",
    "why": "the reason for accepting it",
}


class AcceptedEntries(NamedTuple):
    """The entries of one file."""

    table: pd.DataFrame  # ACCEPTED_COLUMNS, in the file's order; image_id as in the records
    named_by: Mapping[str, int]  # the way in which images were named -> entries


@dataclass(frozen=True)
class _Entry:
    """One entry, as it is written."""

    line: int
    names: tuple[str, ...]
    rule: str
    who: str
    why: str


def read_accepted(file: Path, images: ImageNames) -> AcceptedEntries:
    """The entries of a file; none where there is no file.

    Raises:
        DataError: names the lines of entries that are incomplete, name no image of the data set or several, are of a
            rule that cannot be overruled, or repeated. What the entries say is in its `words`.
    """
    entries = list(_entries(file)) if file.is_file() else []
    for entry in entries:
        _check_entry(entry, f"{file}, line {entry.line}")
    found = [[images.find(name) for name in entry.names] for entry in entries]
    meant = [_common(each) for each in found]
    _raise_unless_one(file, entries, meant)
    ids = [next(iter(each)) for each in meant]
    _raise_if_repeated(file, entries, ids)
    rows = [(image, entry.rule, entry.who, entry.why) for image, entry in zip(ids, entries, strict=True)]
    ways = Counter(next(iter(each[0])) for each in found)
    return AcceptedEntries(pd.DataFrame(rows, columns=list(ACCEPTED_COLUMNS), dtype="str"), dict(sorted(ways.items())))


def _common(found: list[dict[str, frozenset[str]]]) -> frozenset[str]:
    """The images that all names of one entry mean."""
    meant = [frozenset().union(*ways.values()) for ways in found]
    return frozenset.intersection(*meant)


def _raise_unless_one(file: Path, entries: list[_Entry], meant: list[frozenset[str]]) -> None:
    wrong = [(entry, images) for entry, images in zip(entries, meant, strict=True) if len(images) != 1]
    if not wrong:
        return
    unknown = [str(entry.line) for entry, images in wrong if not images]
    several = [str(entry.line) for entry, images in wrong if images]
    parts = [f"{len(unknown)} entries name no image of this data set (line {', '.join(unknown)})"] if unknown else []
    parts += [f"{len(several)} entries name several images (line {', '.join(several)})"] if several else []
    raise DataError(
        f"{file}: {'; '.join(parts)}; expected in image_id or path: the path as in the quarantine's column path, the "
        "image's id in the data set, or image_id of the quarantine. `dermflow data where` says what a name means"
    ).with_words("; ".join(f"line {entry.line}: {' and '.join(map(repr, entry.names))}" for entry, _ in wrong))


def _raise_if_repeated(file: Path, entries: list[_Entry], ids: list[str]) -> None:
    first: dict[tuple[str, str], int] = {}
    for image, entry in zip(ids, entries, strict=True):
        line = first.setdefault((image, entry.rule), entry.line)
        if line != entry.line:
            raise DataError(
                f"{file}, line {entry.line}: the same image and rule {entry.rule} are in line {line} already"
            ).with_words(entry.names[0])


def _entries(file: Path) -> Iterator[_Entry]:
    """Each entry with its first line; its cells without outer blanks."""
    lines = _lines(file)
    _, header = next(lines, (1, []))
    named = [name for name in IMAGE if name in header]
    if not named or sorted(header) != sorted([*named, *_MEANING]):
        raise DataError(
            f"{file}, line 1: has {len(header)} columns, expected {list(ACCEPTED_COLUMNS)}, with the column path "
            "instead of image_id or beside it"
        ).with_words(f"it has {header}")
    for line, cells in lines:
        if len(cells) != len(header):
            raise DataError(
                f"{file}, line {line}: has {len(cells)} cells, expected {len(header)}; put a text with commas in "
                'quotes: "a, b"'
            ).with_words(str(cells))
        entry = dict(zip(header, cells, strict=True))
        names = tuple(entry[name] for name in named if entry[name])
        yield _Entry(line, names, **{name: entry[name] for name in _MEANING})


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row of a file that is not blank, with its first line; the header's most frequent separator counts."""
    try:
        with file.open(
            encoding="utf-8-sig", newline=""
        ) as opened:  # -sig: a spreadsheet's byte order mark is no column
            header = opened.readline()
            opened.seek(0)
            separator = max(SEPARATORS, key=header.count)
            reader, begin = csv.reader(opened, delimiter=separator, strict=True), 1
            for cells in reader:
                tidy = [clean(cell) for cell in cells]
                if any(tidy):
                    yield begin, tidy
                begin = reader.line_num + 1
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: is no table of comma-separated values in UTF-8 ({error})") from error


def _check_entry(entry: _Entry, place: str) -> None:
    if not entry.names:
        raise DataError(f"{place}: the image is not named, expected its path or its id")
    for name, meaning in _MEANING.items():
        if not getattr(entry, name):
            raise DataError(f"{place}: {name} is empty, expected {meaning}")
    refusal = _refuse(entry.rule)
    if refusal:
        named = "" if refusal == NO_RULE else f" {entry.rule!r},"  # another text can be a word of the data set
        raise DataError(f"{place}: rule is{named} {refusal}; expected one of {', '.join(BY_HAND)}").with_words(
            "" if named else f"it is {entry.rule!r}"
        )


NO_RULE = "no rule of the quarantine"


def _refuse(rule: str) -> str | None:
    """Why a rule cannot be overruled by hand; None where it can."""
    if rule in BY_HAND:
        return None
    part, _, name = rule.partition(".")
    if part == "image" and name in IMAGES:
        return "and cannot be accepted by hand: there is no usable image"
    if rule == OUTSIDE_MAP:
        return "and cannot be accepted by hand: the row has no class (map it under labels.schemes, params.yaml)"
    if part in Raw.columns:
        return "and cannot be accepted by hand: later stages rely on the contract, so correct the data set's metadata"
    return NO_RULE
