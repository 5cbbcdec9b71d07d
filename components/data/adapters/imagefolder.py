"""ImageFolder of Hugging Face: images in folders of splits, with metadata.csv, metadata.jsonl or metadata.parquet.

The column file_name is relative to the folder of its metadata (huggingface.co/docs/datasets/image_dataset). Without any
metadata the folder of an image is its diagnosis: train/nv/1.jpg. The splits of the publisher are not used.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import pandas as pd
from pydantic import Field

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.base.normal_form import clean
from components.data.adapters import OWN_IMAGES, ExampleData
from components.data.column_guess import IMAGE, candidates, guess_columns
from components.data.column_map import ColumnMap, as_text
from components.data.file_kinds import is_container
from components.data.file_tree import list_files, list_images
from components.data.first_look import Certainty, FirstLook, Recognition
from components.data.path_column import is_absolute, resolve_paths
from components.data.read_report import ReadReport, TableRead
from components.data.records import conform
from components.data.tables import TableFormat, read_header, read_table
from components.data.vocabulary import translate

FILE_NAME = "file_name"
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")

EXAMPLE = ExampleData(
    texts={
        "train/metadata.csv": "file_name,label,patient\n1.jpg,nv,P1\nmore/2.jpg,mel,P2\n",
        "test/metadata.csv": "file_name,label,patient\n1.jpg,nv,P3\n",
    },
    images=("train/1.jpg", "train/more/2.jpg", "test/1.jpg"),
    settings={"columns": {"diagnosis": "label", "patient_id": "patient"}},
)


class Config(Frozen):
    """One row a row of the metadata; without metadata, an image."""

    published: ClassVar[bool] = False
    licence: ClassVar[Licence] = OWN_IMAGES

    kind: Literal["imagefolder"] = "imagefolder"
    path: Path = Field(description="the folder with the splits' folders, or with metadata and images")
    file_name: str = Field(default=FILE_NAME, min_length=1, description="column of the image, such as image_file_name")
    columns: ColumnMap = Field(
        default={"diagnosis": "label"},
        description="column of the common table: column of the metadata; without diagnosis: an image's folder",
    )
    format: TableFormat = TableFormat()

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row of the metadata; its id is the image's path where `columns` names none."""
        files = self._metadata()
        table = pd.concat([self._rows(file, report) for file in files], ignore_index=True) if files else self._images()
        if "diagnosis" not in table:
            table["diagnosis"] = [_folder(path) for path in table["path"]]
        return conform(translate(table.assign(source="imagefolder")), str(self.path), report)

    def _metadata(self) -> list[Path]:
        """All metadata that lie on the disk itself; hidden files are left out."""
        paths = {_file(file.path) for file in list_files(self.path)}
        return [self.path / path for path in sorted(paths) if PurePosixPath(path).name in METADATA]

    def _images(self) -> pd.DataFrame:
        paths = list_images(self.path)
        if not paths:
            raise DataError(
                f"dataset.path = {self.path}: neither {', '.join(METADATA)} nor an image is there; expected such as "
                "train/metadata.csv with the column file_name"
            )
        return pd.DataFrame({"image_id": paths, "path": paths})

    def _rows(self, file: Path, report: ReadReport) -> pd.DataFrame:
        """The rows of one file of metadata."""
        wanted = list(dict.fromkeys([self.file_name, *self.columns.values()]))
        lines = file.suffix == ".jsonl"
        cells = self._read_lines(file, wanted, report) if lines else self._read_table(file, wanted, report)
        names = cells[self.file_name].fillna("")
        addresses = names[names.str.contains("://", regex=False)]
        if len(addresses):
            raise DataError(
                f"{file}: {len(addresses)} images are addresses in a network, which are never fetched; fetch them "
                f"first and write their file names into {self.file_name}"
            ).with_words(f"first {addresses.iloc[0]}")
        below = file.parent.relative_to(self.path).as_posix()
        start = "" if below == "." else f"{below}/"
        given = [name if not name or is_absolute(name) else start + name for name in names]
        paths = resolve_paths(given, self.path, report)
        mapped = {ours: cells[theirs].to_numpy() for ours, theirs in self.columns.items()}
        return pd.DataFrame({"image_id": paths, **mapped, "path": paths})

    def _read_table(self, file: Path, wanted: list[str], report: ReadReport) -> pd.DataFrame:
        missing = [name for name in wanted if name not in read_header(file, self.format)]
        if missing == [self.columns.get("diagnosis")]:
            raise self._no_diagnosis(file)
        return read_table(file, wanted, report, form=self.format, root=self.path)

    def _read_lines(self, file: Path, wanted: list[str], report: ReadReport) -> pd.DataFrame:
        """JSON, one object a line; keys that a line lacks are null."""
        rows: list[dict[str, str | None]] = []
        try:
            with file.open(encoding="utf-8-sig") as stream:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        rows.append(_line(line, wanted, f"{file}: line {number}"))
        except UnicodeDecodeError:
            raise DataError(f"{file}: is no text in UTF-8; save it as UTF-8") from None
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from error
        table = pd.DataFrame(rows, columns=wanted, dtype="object")
        unknown = [name for name in wanted if table[name].isna().all()]
        if unknown == [self.columns.get("diagnosis")]:
            raise self._no_diagnosis(file)
        if unknown:
            raise DataError(
                f"{file}: no line has a value for {', '.join(unknown)}; correct dataset.file_name or dataset.columns"
            )
        report.tables.append(TableRead(file.relative_to(self.path).as_posix(), len(table), "JSON lines"))
        return table

    def _no_diagnosis(self, file: Path) -> DataError:
        return DataError(
            f"{file}: has no column {self.columns['diagnosis']!r}; name the column of the diagnosis as "
            "dataset.columns.diagnosis (params.yaml), or set dataset.columns without diagnosis where it is an image's "
            "folder"
        )


def recognise(look: FirstLook) -> Recognition | None:
    """By its metadata; without metadata `folder` reads the same images."""
    files = [file.path for file in look.files if PurePosixPath(file.path).name in METADATA]
    if not files:
        return None
    header = _names_in(look.root / files[0])
    image = next((name for name in (FILE_NAME, *candidates(header, IMAGE)) if name in header), None)
    if image is None or not image.endswith(FILE_NAME):  # as its documentation requires
        return None
    guessed = guess_columns([name for name in header if name != image])
    columns = {ours: theirs for ours, theirs in guessed.items() if ours != IMAGE}
    notes = []
    if "diagnosis" not in columns:
        notes.append("no column of the diagnosis was found: the folder of an image is its diagnosis")
    settings = {**({"file_name": image} if image != FILE_NAME else {}), "columns": columns}
    return Recognition(Certainty.FORMAT, f"{', '.join(files[:3])} with the column {image}", settings, tuple(notes))


def _names_in(file: Path) -> list[str]:
    """The names of a table's header, or of the first object of JSON lines; none where it cannot be read."""
    try:
        if file.suffix != ".jsonl":
            return read_header(file)
        with file.open(encoding="utf-8-sig") as stream:
            first = json.loads(next(stream, "{}"))
        return [str(name) for name in first] if isinstance(first, dict) else []
    except (DataError, OSError, ValueError):
        return []


def _line(line: str, wanted: list[str], place: str) -> dict[str, str | None]:
    try:
        data: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{place} is no JSON; write one object a line") from None
    if not isinstance(data, dict):
        raise DataError(f"{place} is no JSON object, such as {{...}}")
    found = {}
    for name in wanted:
        try:
            found[name] = clean(as_text(data.get(name)) or "") or None
        except ValueError as error:
            raise DataError(f"{place}: {name!r} {error}") from None
    return found


def _file(path: str) -> str:
    """The file on the disk of a path that may lead into a tar or a table."""
    parts = PurePosixPath(path).parts
    depth = next((depth for depth, part in enumerate(parts, 1) if is_container(part)), len(parts))
    return "/".join(parts[:depth])


def _folder(path: str) -> str | None:
    """The folder of an image, or the name of the tar or table in which it is."""
    parts = PurePosixPath(path).parts[:-1]
    if not parts:
        return None
    return PurePosixPath(parts[-1]).stem if is_container(parts[-1]) else parts[-1]
