"""WebDataset: uncompressed tar shards in which the files of a sample have one name, `7.jpg`, `7.cls`, `7.json`.

A sample's name ends at the first dot of the file name, and its folder belongs to it (webdataset.github.io, "The
WebDataset Format"): of `a/7.left.png` the sample is `a/7` and the field `left.png`. Images are read in place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.data.adapters import OWN_IMAGES, ExampleData
from components.data.column_guess import IMAGE, guess_columns
from components.data.column_map import ColumnMap, as_text
from components.data.file_kinds import COMPRESSED_TARS
from components.data.file_tree import FoundFile, list_files
from components.data.first_look import Certainty, FirstLook, Recognition
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.source_error import SourceError
from components.data.sources import read_stored
from components.data.vocabulary import translate

JSON = ("json", "jsn")
MOST_BYTES = 2**22
"""Of a text or JSON in a sample."""

_SHARD = re.compile(r"(.*?\.tar)/(.+)", re.IGNORECASE | re.DOTALL)
_FIELD = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)", re.DOTALL)

EXAMPLE = ExampleData(
    packed={
        "train-000000.tar": {"0.jpg": "", "0.cls": "1", "0.json": '{"patient": "P1", "age": 45.0}', "1.jpg": "",
                             "1.cls": "0", "1.json": '{"patient": "P2", "age": null}'},
        "train-000001.tar": {"0.jpg": "", "0.cls": "1\n", "0.json": '{"patient": "P1", "age": 46}'},
    },
    settings={
        "names": ["mel", "nv"],
        "columns": {"diagnosis": "cls", "patient_id": "patient", "age": "age"},
    },
)  # fmt: skip


@dataclass
class Sample:
    """The files of one sample."""

    shard: str
    name: str
    fields: dict[str, FoundFile] = field(default_factory=dict)
    """Such as `jpg` or `left.png` -> file."""


class Config(Frozen):
    """One row a sample with an image."""

    published: ClassVar[bool] = False
    licence: ClassVar[Licence] = OWN_IMAGES

    kind: Literal["webdataset"] = "webdataset"
    path: Path = Field(description="the folder with the .tar shards")
    image: str | None = Field(
        default=None, description="field of the image, such as jpg or left.png; null: the only one that is an image"
    )
    columns: ColumnMap = Field(
        default={"diagnosis": "cls"},
        description="column of the common table: field of a sample (cls, txt), or key of its JSON, nested ones as a.b",
    )
    names: tuple[str, ...] = Field(
        default=(), description="diagnoses in the order of the numbers in the field of the diagnosis; empty: its words"
    )

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a sample; its id is the path of its image where `columns` names none."""
        samples = self._samples(report)
        rows: list[dict[str, str | None]] = []
        seen = set[str]()
        for sample in samples:
            image = self._image(sample)
            if image is None:
                continue
            cells = self._cells(sample)
            seen.update(ours for ours, text in cells.items() if text is not None)
            rows.append({"image_id": image.path, "path": image.path, "source": "webdataset", **cells})
        without = len(samples) - len(rows)
        if without:
            report.warn("samples_without_image", without, f"{without} samples have no image and are left out")
        if not rows:
            raise DataError(f"dataset.path = {self.path}: none of {len(samples)} samples has an image")
        self._check_known(seen, samples[0])
        table = pd.DataFrame(rows)
        if self.names and "diagnosis" in table:
            table["diagnosis"] = [self._name(number) for number in table["diagnosis"]]
        return conform(translate(table), str(self.path), report)

    def _samples(self, report: ReadReport) -> list[Sample]:
        """All samples of all shards, in the order of their paths."""
        files = list_files(self.path)
        samples: dict[tuple[str, str], Sample] = {}
        nameless = []
        for file in files:
            inside = _SHARD.fullmatch(file.path)
            if inside is None:
                continue
            shard, member = inside.groups()
            parts = _FIELD.fullmatch(member)
            if parts is None:
                nameless.append(file.path)
                continue
            sample = samples.setdefault((shard, parts.group(1)), Sample(shard, parts.group(1)))
            sample.fields[parts.group(2)] = file
        if nameless:
            words = "members of shards have a name without a field, such as 7 instead of 7.jpg; they are left out"
            report.warn("nameless_members", len(nameless), f"{len(nameless)} {words}", nameless)
        if not samples:
            packed = [file.path for file in files if file.path.lower().endswith(COMPRESSED_TARS)]
            hint = f"; {packed[0]} is compressed: make it an uncompressed .tar (zcat, xzcat, zstdcat)" if packed else ""
            raise DataError(f"dataset.path = {self.path}: no sample in an uncompressed .tar there{hint}")
        return list(samples.values())

    def _image(self, sample: Sample) -> FoundFile | None:
        if self.image is not None:
            return sample.fields.get(self.image)
        found = [name for name, file in sample.fields.items() if file.is_candidate]
        plain = [name for name in found if "." not in name] or found
        if len(plain) > 1:
            raise DataError(
                f"{sample.shard}: a sample has {len(plain)} images, {', '.join(plain)}; name the one that counts as "
                "dataset.image (params.yaml)"
            ).with_words(f"sample {sample.name}")
        return sample.fields[plain[0]] if plain else None

    def _cells(self, sample: Sample) -> dict[str, str | None]:
        """Column of the common table -> text."""
        keys: Mapping[str, Any] = {}
        if any(theirs not in sample.fields for theirs in self.columns.values()):
            keys = self._keys(sample)
        cells = {}
        for ours, theirs in self.columns.items():
            file = sample.fields.get(theirs)
            try:
                cells[ours] = as_text(self._text(file).strip() or None if file else keys.get(theirs))
            except ValueError as error:
                raise DataError(
                    f"{sample.shard}: {theirs!r} of a sample {error}; name another field as dataset.columns.{ours}"
                ).with_words(f"sample {sample.name}") from error
        return cells

    def _keys(self, sample: Sample) -> dict[str, Any]:
        """The keys of the sample's JSON, nested ones joined by dots."""
        found: dict[str, Any] = {}
        for name, file in sample.fields.items():
            if name.rpartition(".")[2].lower() not in JSON:
                continue
            try:
                data = json.loads(self._text(file))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{file.path.partition('.tar/')[0]}.tar: a sample's {name} is no JSON").with_words(
                    f"sample {sample.name}"
                ) from error
            for key, value in _flat(data if isinstance(data, dict) else {name: data}):
                found.setdefault(key, value)
        return found

    def _text(self, file: FoundFile) -> str:
        try:
            data = read_stored(self.path, file.path)
        except SourceError as error:
            raise DataError(f"dataset.path = {self.path}: a member of a shard cannot be read").with_words(
                f"{file.path}: {error}"
            ) from error
        if len(data) > MOST_BYTES:
            raise ValueError(f"has {len(data)} bytes, expected a text of at most {MOST_BYTES}")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError("is no text in UTF-8") from None

    def _check_known(self, seen: set[str], sample: Sample) -> None:
        unknown = [f"{ours}: {theirs}" for ours, theirs in self.columns.items() if ours not in seen]
        if unknown:
            raise DataError(
                f"dataset.columns (params.yaml): no sample has a value for {', '.join(unknown)}; name a field or a "
                "key of the JSON"
            ).with_words(f"the first sample has the fields {list(sample.fields)}, keys {list(self._keys(sample))}")

    def _name(self, number: str | None) -> str | None:
        if number is None or number == "-1":
            return None
        if not (number.isascii() and number.isdigit() and int(number) < len(self.names)):
            raise DataError(
                f"dataset.names (params.yaml) has {len(self.names)} diagnoses, for the numbers 0 to "
                f"{len(self.names) - 1}; a sample has another value"
            ).with_words(repr(number))
        return self.names[int(number)]


def recognise(look: FirstLook) -> Recognition | None:
    """Shards in which most images have a `.cls`, `.txt` or JSON of the same name."""
    config = Config(path=look.root)
    try:
        samples = [sample for sample in config._samples(ReadReport()) if look.only in (None, sample.shard)]
    except DataError:
        return None
    pairs = [sample for sample in samples if len(sample.fields) > 1 and _described(sample)]
    if not pairs or 2 * len(pairs) < len(samples):
        return None
    first = pairs[0]
    plain = [name for name in ("cls", "txt") if name in first.fields]
    keys = config._keys(first)
    guessed = guess_columns([*plain[:1], *keys])
    columns = {ours: theirs for ours, theirs in guessed.items() if ours != IMAGE}
    if plain:
        columns["diagnosis"] = plain[0]
    notes = []
    words = [config._text(sample.fields["cls"]).strip() for sample in pairs if plain[:1] == ["cls"]]
    if words and all(word.lstrip("-").isdigit() for word in words):
        notes.append("the diagnoses are numbers: write their names, in the order of the numbers, as dataset.names")
    seen = f"{len({sample.shard for sample in samples})} tar shards of {len(samples)} samples"
    return Recognition(Certainty.FORMAT, seen, {"columns": columns}, tuple(notes))


def _described(sample: Sample) -> bool:
    return any(name.rpartition(".")[2].lower() in ("cls", "txt", *JSON) for name in sample.fields)


def _flat(data: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
