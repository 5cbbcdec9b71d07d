"""Any table, CSV or parquet: settings map its columns to those of the common table, and say where the images are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import ClassVar, Literal, Self

import pandas as pd
from pydantic import Field, field_validator, model_validator

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.base.normal_form import clean, clean_id
from components.data.adapters import OWN_IMAGES, ExampleData
from components.data.ids import ALL_IDS
from components.data.path_column import resolve_paths
from components.data.read_report import ReadReport
from components.data.records import SEXES, Raw, conform
from components.data.sources import find_images, locate
from components.data.tables import TableFormat, read_header, read_table
from components.data.vocabulary import translate

TAKEN = tuple(name for name in Raw.columns if name != "label")  # the label comes from labels.schemes

EXAMPLE = ExampleData(
    texts={
        "list.csv": (
            "Bild,Befund,Fall,Geschlecht,Alter,Ort\n"
            "a,nv,1,w,45,Back\n"
            "b,mel,2,m,,face\n"
            "c,,3,,85+,\n"
        )
    },
    images=("pictures/a.png", "pictures/b.png", "pictures/c.png"),
    settings={
        "file": "list.csv",
        "columns": {
            "image_id": "Bild", "diagnosis": "Befund", "lesion_id": "Fall", "sex": "Geschlecht", "age": "Alter",
            "site": "Ort",
        },
        "vocabulary": {"w": "female"},
    },
)  # fmt: skip


class Config(Frozen):
    """A table of one's own; `columns` maps the columns of the common table to its own."""

    published: ClassVar[bool] = False
    licence: ClassVar[Licence] = OWN_IMAGES

    kind: Literal["table"] = "table"
    path: Path = Field(description="the folder with the table and the images")
    file: str = Field(min_length=1, description="the table below path: CSV, Excel, OpenDocument or parquet")
    columns: Mapping[str, str] = Field(
        description="column of the common table: column of this one; image_id or path, and others"
    )
    path_pattern: str | None = Field(
        default=None,
        description="an image's path from columns of this table or of the common one, such as '{image_id}.jpg' or "
        "'{shard}.tar/{image_id}.png'; null: the column mapped to path, else the file named as image_id",
    )
    replace_start: Mapping[str, str] = Field(
        default={},
        description="start of the paths in the table: what stands there below path, such as '/mnt/clinic/': 'images/'",
    )
    images: str = Field(default="", description="subfolder or tar to search for images named as image_id; empty: all")
    vocabulary: Mapping[str, str] = Field(default={}, description="the table's values of sex: male, female or unknown")
    format: TableFormat = TableFormat()
    source: str = Field(default="table", min_length=1, description="the data set's name, in the column source")

    @field_validator("columns")
    @classmethod
    def _are_of_the_contract(cls, columns: Mapping[str, str]) -> Mapping[str, str]:
        unknown = sorted(set(columns) - set(TAKEN))
        if unknown:
            raise ValueError(f"names {unknown}, expected some of {list(TAKEN)}")
        if not {"image_id", "path"} & set(columns):
            raise ValueError("names neither image_id nor path, expected at least one of them")
        return {ours: clean(theirs) for ours, theirs in columns.items()}  # as read_table compares names

    @field_validator("vocabulary")
    @classmethod
    def _means_a_sex(cls, words: Mapping[str, str]) -> Mapping[str, str]:
        wrong = sorted(set(words.values()) - set(SEXES))
        if wrong:
            raise ValueError(f"gives {wrong}, expected some of {list(SEXES)}")
        return words

    @field_validator("path_pattern")
    @classmethod
    def _has_plain_fields(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            parsed = [part[1:] for part in Formatter().parse(pattern) if part[1] is not None]
        except ValueError as error:
            raise ValueError(f"is no pattern: {error}; expected such as '{{image_id}}.jpg'") from None
        if not parsed or any(not name or spec or conversion for name, spec, conversion in parsed):
            raise ValueError("expected names of columns in braces, such as '{image_id}.jpg'")
        return pattern

    @model_validator(mode="after")
    def _tells_one_place(self) -> Self:
        if self.path_pattern is not None and "path" in self.columns:
            raise ValueError("dataset.path_pattern and dataset.columns.path both give the path of an image; remove one")
        if self.replace_start and self.path_pattern is None and "path" not in self.columns:
            raise ValueError("dataset.replace_start changes paths: name their column as columns.path, or path_pattern")
        return self

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row a row of the table."""
        file = self.path / self.file
        named = [clean(name) for _, name, _, _ in Formatter().parse(self.path_pattern or "") if name]
        theirs = list(dict.fromkeys(self.columns.values()))
        cells = read_table(file, theirs, report, form=self.format, optional=named, root=self.path)
        table = pd.DataFrame({ours: cells[theirs] for ours, theirs in self.columns.items()})
        table["path"] = self._paths(cells, table, file, report)
        if "image_id" not in table:
            table["image_id"] = table["path"]
        if "source" not in table:
            table["source"] = self.source
        return conform(translate(table, self.vocabulary), str(file), report)

    def _paths(self, cells: pd.DataFrame, table: pd.DataFrame, file: Path, report: ReadReport) -> list[str]:
        """Paths of the table, by the pattern, or by the images' names."""
        if "path" in table:
            return resolve_paths(table["path"].fillna(""), self.path, report, replace_start=self.replace_start)
        if self.path_pattern is None:
            return locate(table["image_id"].fillna(""), find_images(self.path, self.images), "{}", report)
        known = cells.assign(**{name: table[name] for name in self.columns})
        parts = [(text, name and clean(name)) for text, name, _, _ in Formatter().parse(self.path_pattern)]
        unknown = sorted({name for _, name in parts if name is not None and name not in known})
        if unknown:
            raise DataError(
                f"dataset.path_pattern = {self.path_pattern!r} (params.yaml) names {unknown}; {file} has no such column"
            ).with_words(f"its columns are {read_header(file, self.format)[:30]}")
        paths = _filled(parts, known)
        of_ids = {name for ours in ALL_IDS for name in (ours, self.columns.get(ours, ours)) if name in known}
        ids = {name: known[name].map(clean_id, na_action="ignore") for name in of_ids}
        otherwise = _filled(parts, known.assign(**ids))  # 7 for the 7.0 of a column with a gap
        return resolve_paths(paths, self.path, report, otherwise=otherwise, replace_start=self.replace_start)


def _filled(parts: list[tuple[str, str | None]], known: pd.DataFrame) -> list[str]:
    """A pattern's text with the cells of each row."""
    paths = pd.Series("", index=known.index, dtype="object")
    for text, name in parts:
        paths = paths + text + (known[name].fillna("").astype("object") if name is not None else "")
    return paths.to_list()
