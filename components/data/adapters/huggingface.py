"""Hugging Face `datasets`: parquet shards as the Hub stores them, or a folder of `save_to_disk`, images in their rows.

    Hub              data/train-00000-of-00002.parquet ..., README.md
    save_to_disk     data-00000-of-00001.arrow, or a folder of them a split, dataset_info.json

A column of images is a struct of bytes and path. Names of classes are found in the file itself (metadata
`huggingface`), in dataset_info.json, dataset_infos.json, or the first lines of README.md (dataset_info). The splits of
the publisher are not used: name the files of one as `files`. Images at an address are never fetched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.data import file_kinds
from components.data.adapters import OWN_IMAGES, ExampleData
from components.data.arrow_images import Rows, features, image_columns, open_rows, row_names
from components.data.column_guess import IMAGE, guess_columns
from components.data.column_map import ColumnMap, as_text
from components.data.file_kinds import OPENED_ARCHIVE
from components.data.first_look import Certainty, FirstLook, Recognition
from components.data.path_column import is_absolute, resolve_paths
from components.data.read_report import ReadReport, TableRead
from components.data.records import conform
from components.data.source_error import SourceError
from components.data.vocabulary import translate

SUFFIXES = (".parquet", ".arrow")
ClassNames = dict[str, list[list[str]]]
INFO = ("dataset_info.json", "dataset_infos.json", "README.md")

EXAMPLE = ExampleData(
    texts={
        "README.md": (
            "---\ndataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n"
            "      class_label:\n        names:\n          '0': mel\n          '1': nv\n---\n# Lesions\n"
        )
    },
    rows={
        "data/train-00000-of-00001.parquet": [
            {"image": {"bytes": None, "path": "a.jpg"}, "label": 1, "patient": "P1", "age": 45.0},
            {"image": {"bytes": None, "path": "b.jpg"}, "label": 0, "patient": "P2", "age": None},
            {"image": {"bytes": None, "path": "c.jpg"}, "label": -1, "patient": "P2", "age": 46.5},
        ],
        "data/test-00000-of-00001.parquet": [
            {"image": {"bytes": None, "path": "d.jpg"}, "label": 1, "patient": "P3", "age": 50.0},
        ],
    },
    settings={"columns": {"diagnosis": "label", "patient_id": "patient", "age": "age"}},
)


class Config(Frozen):
    """One row a row of the files."""

    published: ClassVar[bool] = False
    licence: ClassVar[Licence] = OWN_IMAGES

    kind: Literal["huggingface"] = "huggingface"
    path: Path = Field(description="the folder that was downloaded (git clone, huggingface-cli) or saved")
    files: str = Field(
        default="**/*", min_length=1, description="the files to read, such as data/train-*.parquet; several splits too"
    )
    image: str | None = Field(default=None, description="column of the image; null: the only one")
    columns: ColumnMap = Field(
        default={"diagnosis": "label"}, description="column of the common table: column of these files"
    )

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row; its id is its path, FILE/ROW, where `columns` names none."""
        files = self._files()
        names = self._class_names()
        table = pd.concat([self._rows(file, names, report) for file in files], ignore_index=True)
        return conform(translate(table), str(self.path), report)

    def _files(self) -> list[Path]:
        try:
            matched = sorted(self.path.glob(self.files)) if self.path.is_dir() else []
        except (ValueError, NotImplementedError, IndexError) as error:
            raise DataError(f"dataset.files = {self.files!r} (params.yaml) is no pattern: {error}") from error
        found = [file for file in matched if file.suffix.lower() in SUFFIXES and file.is_file() and self._inside(file)]
        with_images = [file for file in found if self.image or self._opened(file)[1]]
        if with_images:
            return with_images
        texts = [file for file in found if self._opened(file)[0].schema.names]
        what = f"{len(texts)} tables without a column of images" if texts else "no .parquet or .arrow file"
        raise DataError(
            f"dataset.path = {self.path}: {what} at dataset.files = {self.files!r}; expected such as "
            "data/train-00000-of-00001.parquet with a column of images (a struct of bytes and path), or its name as "
            "dataset.image"
        )

    def _inside(self, file: Path) -> bool:
        """Whether it is neither hidden nor reached through a link that leads out of the folder."""
        below = file.relative_to(self.path)
        hidden = any(file_kinds.is_hidden(part) for part in below.parts)
        return not hidden and Path(os.path.realpath(file)).is_relative_to(os.path.realpath(self.path))

    def _opened(self, file: Path) -> tuple[Rows, list[str]]:
        try:
            table = open_rows(file)
        except (SourceError, OSError) as error:
            raise DataError(f"{file}: {error}") from error
        return table, image_columns(table.schema)

    def _rows(self, file: Path, names: ClassNames, report: ReadReport) -> pd.DataFrame:
        """The rows of one file."""
        table, found = self._opened(file)
        if self.image is None and len(found) > 1:
            raise DataError(f"{file}: has {len(found)} columns of images; name one as dataset.image").with_words(
                f"they are {found}"
            )
        image = self.image or found[0]
        wanted = list(dict.fromkeys(self.columns.values()))
        missing = [name for name in [image, *wanted] if table.schema.names.count(name) != 1]
        if missing:
            raise DataError(
                f"{file}: lacks the columns {', '.join(missing)}, or has them twice; correct dataset.columns or "
                "dataset.image (params.yaml)"
            ).with_words(f"its columns are {table.schema.names[:30]}")
        below = file.relative_to(self.path).as_posix()
        paths = self._paths(table, image, below, named=found[:1] != [image], report=report)
        cells = {ours: self._texts(table, theirs, names, file) for ours, theirs in self.columns.items()}
        report.tables.append(TableRead(below, table.rows, file.suffix.lower()[1:]))
        return pd.DataFrame({"image_id": paths, **cells, "path": paths, "source": "huggingface"})

    def _texts(self, table: Rows, name: str, names: ClassNames, file: Path) -> list[str | None]:
        """A column as text; numbers of classes as their names."""
        described = features(table.schema).get(name, {})
        ways = [described["names"]] if described.get("names") else names.get(name, [])
        classes = ways[0] if ways else None
        try:
            texts = [as_text(value) for value in table.values(name)]
        except (SourceError, ValueError) as error:
            raise DataError(f"{file}: the column {name!r} {error}; name another one in dataset.columns") from error
        if not classes or not any(text and text.lstrip("-").isdigit() for text in texts):  # no numbers to translate
            return texts
        if len(ways) > 1:
            raise DataError(
                f"dataset.path = {self.path}: {' and '.join(INFO)} state the classes of {name!r} in {len(ways)} ways; "
                "keep the right one"
            )
        known = {**{str(number): word for number, word in enumerate(classes)}, "-1": None}  # -1 is not stated
        wrong = [text for text in texts if text is not None and text not in known and text not in classes]
        if wrong:
            raise DataError(
                f"{file}: {len(wrong)} rows of {name!r} are none of the numbers 0 to {len(classes) - 1} of its "
                f"{len(classes)} classes"
            ).with_words(f"first {wrong[0]!r}")
        return [text if text is None else known.get(text, text) for text in texts]

    def _paths(self, table: Rows, image: str, below: str, *, named: bool, report: ReadReport) -> list[str]:
        """The path of each row's image: the row itself, or the file that it names where it holds no bytes."""
        start = f"{below}/{image}" if named else below
        rows = [f"{start}/{name}" for name in row_names(table.rows)]
        try:
            outside = table.outside(image)
        except SourceError as error:
            raise DataError(f"{self.path / below}: the column {image!r} {error}") from error
        addresses = [place for place in outside.values() if place and "://" in place]
        if addresses:
            raise DataError(
                f"{self.path / below}: {len(addresses)} images are addresses in a network, which are never fetched; "
                "fetch them first, then save them with their bytes (datasets: cast_column(..., Image()), save_to_disk)"
            ).with_words(f"first {addresses[0]}")
        if not outside:
            return rows
        files = resolve_paths([place or "" for place in outside.values()], self.path, report)
        placed = dict(zip(outside, files, strict=True))
        absent = sum(not place or is_absolute(place) for place in outside.values())
        if absent:
            words = "rows hold no bytes of an image, and name no file below dataset.path"
            report.warn("rows_without_image", absent, f"{below}: {absent} {words}")
        return [placed.get(place) or path for place, path in enumerate(rows)]

    def _class_names(self) -> ClassNames:
        """Column -> names of its classes in the files beside the data; several where these contradict each other."""
        found: ClassNames = {}
        for name in INFO:
            for file in sorted(self.path.glob(f"**/{name}")):
                for column, classes in _class_names(_read_info(file)):
                    ways = found.setdefault(column, [])
                    ways.extend([classes] if classes not in ways else [])
        return found


def recognise(look: FirstLook) -> Recognition | None:
    """Rows with images in .parquet or .arrow files."""
    files = [file.path for file in look.files if file.kind == OPENED_ARCHIVE and file.path.lower().endswith(SUFFIXES)]
    if not files:
        return None
    schema = open_rows(look.root / files[0]).schema
    images = image_columns(schema)
    guessed = guess_columns([name for name in schema.names if name not in images])
    columns = {ours: theirs for ours, theirs in guessed.items() if ours != IMAGE}
    settings: dict[str, Any] = {"columns": columns}
    notes = []
    if look.only in files:
        settings["files"] = look.only
    if len(images) > 1:
        settings["image"] = images[0]
        notes.append(f"dataset.image: {images[0]!r} is the first of {images}; the others are not read")
    return Recognition(Certainty.FORMAT, f"images in the rows of {', '.join(files[:3])}", settings, tuple(notes))


def _read_info(file: Path) -> Any:
    """The JSON of a file, or the settings at the beginning of README.md; None where there are none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            return json.loads(text)
        parts = text.split("---\n", 2)
        return YAML(typ="safe").load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    except (OSError, ValueError, YAMLError, RecursionError):
        return None


def _class_names(info: Any) -> Iterator[tuple[str, list[str]]]:
    """Each ClassLabel below `features`, in JSON (a mapping) or in README.md (a list)."""
    if isinstance(info, list):
        for item in info:
            yield from _class_names(item)
    if not isinstance(info, dict):
        return
    for key, value in info.items():
        if key != "features":
            yield from _class_names(value)
        elif isinstance(value, dict):
            for column, feature in value.items():
                if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names"):
                    yield str(column), [str(name) for name in feature["names"]]
        elif isinstance(value, list):
            for feature in value:
                kind = feature.get("dtype") if isinstance(feature, dict) else None
                names = kind.get("class_label", {}).get("names") if isinstance(kind, dict) else None
                if isinstance(names, dict):
                    yield str(feature.get("name")), [str(names[key]) for key in sorted(names, key=int)]
