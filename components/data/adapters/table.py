"""Any table, CSV or parquet: settings map its columns to those of the common table, and say where the images are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Any, ClassVar, Literal, Self

import pandas as pd
from pydantic import Field, field_validator, model_validator

from components.base.config import Frozen
from components.base.errors import DataError
from components.base.licence import Licence
from components.base.normal_form import clean, clean_id, clean_path
from components.data.adapters import OWN_IMAGES, ExampleData
from components.data.column_guess import IMAGE, candidates, guess_columns
from components.data.diagnosis_words import is_known
from components.data.first_look import Certainty, FirstLook, Recognition
from components.data.ids import ALL_IDS
from components.data.image_formats import image_name
from components.data.path_column import is_absolute, resolve_paths
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


# --- a table whose columns are not known ------------------------------------------------------------------------------

SEX_HINTS = {
    "w": "female", "weiblich": "female", "frau": "female", "femme": "female", "féminin": "female", "mujer": "female",
    "femenino": "female", "femmina": "female", "feminino": "female", "männlich": "male", "maennlich": "male",
    "mann": "male", "homme": "male", "masculin": "male", "hombre": "male", "masculino": "male", "maschio": "male",
    "d": "unknown", "divers": "unknown", "other": "unknown", "x": "unknown",
}  # fmt: skip
"""Words for sex of other languages; they are only proposed."""

MOST_CELLS = 5_000_000
"""Cells of a table that are compared with names of images where no header tells the column."""


def recognise(look: FirstLook) -> Recognition | None:
    """The table whose cells name the most images, with a column of the diagnosis."""
    said = [each for path in look.tables if (each := _proposed(look, path)) is not None]
    return max(said, key=lambda pair: pair[0], default=(0.0, None))[1]


def _proposed(look: FirstLook, path: str) -> tuple[float, Recognition] | None:
    """Share of rows whose image is there, and the settings; None where a column is missing that must be there."""
    header = look.tables[path].header
    guessed = guess_columns(header)
    image, share = _image_column(look, path)
    if image is None:
        return None
    columns = {ours: theirs for ours, theirs in guessed.items() if ours != IMAGE and theirs != image}
    notes = []
    if "diagnosis" not in columns:
        column = _column_of_diagnoses(look.cells(path, header), [*columns.values(), image])
        if column is None:
            return None
        columns["diagnosis"] = column
        notes.append(f"dataset.columns: diagnosis is {column!r}, as its words are diagnoses")
    cells = look.cells(path, [image, *([columns["sex"]] if "sex" in columns else [])])
    settings, about_paths = _where_images_are(look, cells[image].fillna(""), image)
    notes += about_paths
    words = {clean(word).lower() for word in cells[columns["sex"]].dropna()} if "sex" in columns else set()
    if vocabulary := {word: SEX_HINTS[word] for word in sorted(words) if word in SEX_HINTS}:
        settings["vocabulary"] = vocabulary
        notes.append(f"dataset.vocabulary: {vocabulary} is a guess")
    unused = [name for name in header if name not in (image, *columns.values())]
    if unused:
        notes.append(f"columns that are not used: {', '.join(unused[:20])}")
    settings["columns"] = {**settings.pop("columns"), **columns}
    seen = f"{path} ({look.tables[path].form}), whose column {image!r} names the images"
    return share, Recognition(Certainty.ANY_TABLE, seen, {"file": path, **settings}, tuple(notes))


def _image_column(look: FirstLook, path: str) -> tuple[str | None, float]:
    """The column whose cells name the most images of the folder, and the share of rows; by its name without images."""
    header = look.tables[path].header
    named = candidates(header, IMAGE)
    known = set(map(_stem, look.images))
    if not known:
        return (named[0] if named else None), 0.0
    shares = _shares(look, path, named, known)
    if max(shares.values(), default=0.0) < 0.5:
        others = [name for name in header if name not in named]
        shares |= _shares(look, path, others, known)
    column = max(shares, key=lambda name: shares[name], default=None)
    if column is None or not shares[column]:  # none of the images is there: the name alone tells
        return (named[0] if named else None), 0.0
    return column, shares[column]


def _shares(look: FirstLook, path: str, columns: list[str], known: set[str]) -> dict[str, float]:
    if not columns:
        return {}
    cells = look.cells(path, columns)
    if cells.size > MOST_CELLS:
        cells = cells.head(MOST_CELLS // len(columns))
    return {name: float(cells[name].fillna("").map(lambda cell: _stem(cell) in known).mean()) for name in columns}


def _stem(cell: str) -> str:
    return clean_id(image_name(cell.replace("\\", "/")))


def _column_of_diagnoses(cells: pd.DataFrame, taken: list[str]) -> str | None:
    """The column most of whose cells are known terms of diagnoses."""
    free = [str(name) for name in cells if name not in taken]
    shares = {name: float(cells[name].dropna().map(is_known).mean()) for name in free if cells[name].notna().any()}
    best = max(shares, key=lambda name: shares[name], default=None)
    return best if best is not None and shares[best] > 0.5 else None


def _where_images_are(look: FirstLook, cells: pd.Series, column: str) -> tuple[dict[str, Any], list[str]]:
    """Settings for ids, relative paths or paths of another machine, and notes."""
    paths = cells[cells.str.contains(r"[/\\]", regex=True)]
    if paths.empty:
        return {"columns": {"image_id": column}}, []
    settings: dict[str, Any] = {"columns": {"path": column}}
    absolute = paths[paths.map(is_absolute)]
    if absolute.empty:
        return settings, []
    starts = Counter(start for path in absolute.head(50) if (start := _moved(path, look.images)) is not None)
    if not starts:
        return settings, [
            f"dataset.replace_start: the paths in {column!r} are of another machine ({_parent(absolute.iloc[0])}), and "
            "no image of these names is here; state what stands there here"
        ]
    before, here = starts.most_common(1)[0][0]
    settings["replace_start"] = {before: here}
    return settings, [f"dataset.replace_start: a guess, {before} of the table is {here or 'the folder itself'} here"]


def _moved(path: str, images: list[str]) -> tuple[str, str] | None:
    """Start of a path in the table, and what stands there below the folder, where one image has the same end."""
    parts = clean_path(path).split("/")
    name = parts[-1]
    same = [image for image in images if clean(PurePosixPath(image).name) == name]
    if len(same) != 1:
        return None
    own = same[0].split("/")
    shared = 1
    while shared < min(len(own), len(parts)) and clean(own[-shared - 1]) == parts[-shared - 1]:
        shared += 1
    form = path.replace("\\", "/")
    tail = "/".join(form.split("/")[-shared:])
    here = "/".join(own[:-shared])
    return form.removesuffix(tail), f"{here}/" if here else ""


def _parent(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[0] + "/"
