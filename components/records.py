"""The one table: a row an image, and the contract that every stage relies on.

Structure and contents are two questions. `conform` gives any adapter's table the contract's columns and
types, or stops; `failures` finds the rows that break the contract, so that they can be quarantined and named.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

import pandas as pd
import pandera.pandas as pa

from components.errors import DataError
from components.files import whole

SEXES = ("male", "female", "unknown")
NUMBERS: Mapping[str, Literal["float64", "Int64"]] = {"age": "float64", "skin_type": "Int64"}
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

# A check's text is "<rule>: <expected>"; `failures` takes both from there.
_BUILT_IN = {"field_uniqueness": "unique: a value that no other row has", "not_nullable": "missing: a value"}


def _rule(name: str, expected: str, check: str, *limits: object) -> pa.Check:
    """One of pandera's own checks of a column, under our name for the rule."""
    made: pa.Check = getattr(pa.Check, check)(*limits, error=f"{name}: {expected}")
    return made


def is_relative(path: str) -> bool:
    """Whether a path is written relative, in POSIX form, and never climbs out of its folder."""
    windows = PureWindowsPath(path)
    climbs = ".." in PurePosixPath(path).parts
    return path != "" and "\\" not in path and not windows.drive and not windows.root and not climbs


def stays_inside(root: Path, path: str) -> bool:
    """Whether `root / path` lies below `root` once symbolic links are followed."""
    return is_relative(path) and (root / path).resolve().is_relative_to(root.resolve())


_text = _rule("empty", "at least one character", "str_length", 1, None)
_relative = pa.Check(
    is_relative,
    element_wise=True,
    error="inside: a POSIX path relative to the data set's folder, without '..'",
)
_ages = _rule("range", "0 to 120 years, or nothing", "in_range", 0, 120)
_sexes = _rule("words", f"one of {', '.join(SEXES)}", "isin", SEXES)
_types = _rule("range", "1 to 6 (Fitzpatrick), or nothing", "in_range", 1, 6)

Raw = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str, _text, unique=True),
        "path": pa.Column(str, _relative),  # from the data set's folder
        "diagnosis": pa.Column(str, _text, nullable=True),  # the data set's own word; null: unlabelled
        "label": pa.Column(str, _text, nullable=True),  # target class; null: unlabelled or outside the map
        "lesion_id": pa.Column(str, _text),  # without lesions: the image_id
        "patient_id": pa.Column(str, _text, nullable=True),
        "age": pa.Column(NUMBERS["age"], _ages, nullable=True),  # years
        "sex": pa.Column(str, _sexes),
        "site": pa.Column(str, _text),
        "skin_type": pa.Column(NUMBERS["skin_type"], _types, nullable=True),
        "source": pa.Column(str, _text),  # the data set's name
    },
    strict=True,
    ordered=True,
)
"""What ingest writes, once `failures` finds nothing."""

Accepted = Raw.add_columns(
    {
        "sha256": pa.Column(str, _rule("form", "64 hexadecimal digits", "str_matches", r"^[0-9a-f]{64}$")),
        "width": pa.Column("int64", _rule("range", "at least 1 pixel", "ge", 1)),
        "height": pa.Column("int64", _rule("range", "at least 1 pixel", "ge", 1)),
    }
)
"""What validate lets through: Raw and what the file itself said."""

_REQUIRED = ("image_id", "path", "source")
_UNKNOWN = {"sex": "unknown", "site": "unknown"}


def read_columns(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Those columns of a CSV file, every cell as text, empty ones null; DataError for what is not there."""
    if not file.is_file():
        raise DataError(f"{file}: is missing; put the data set's table there, or mend dataset.path (params.yaml)")
    try:
        table = pd.read_csv(file, dtype="str", keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:  # pandas' parser errors and encoding errors are ValueErrors
        raise DataError(f"{file}: is no table of comma-separated values ({error})") from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"{file}: lacks the columns {missing}; has {list(table)}, expected {list(columns)}")
    return table[list(columns)]


def conform(table: pd.DataFrame, origin: str) -> pd.DataFrame:
    """The table in the columns, order and types of `Raw`; `origin` is the file or folder that errors name.

    Columns that a data set lacks get their default: lesion_id the image_id, sex and site `unknown`, the rest
    nothing. Rows are kept as they are, broken ones too: `failures` names those. Raises DataError for a
    missing column, a column too many, or a number that is none.
    """
    missing = [name for name in _REQUIRED if name not in table]
    unknown = [str(name) for name in table if name not in Raw.columns]
    if missing or unknown:
        raise DataError(
            f"{origin}: columns missing: {missing}, not of the contract: {unknown}; "
            f"expected {list(Raw.columns)} (components/records.py)"
        )
    table = table.reindex(columns=list(Raw.columns)).reset_index(drop=True)
    typed = pd.DataFrame({name: _typed(table, name, origin) for name in Raw.columns})
    typed["lesion_id"] = typed["lesion_id"].fillna(typed["image_id"])
    return typed.fillna(_UNKNOWN).fillna({"image_id": "", "path": ""})


def _typed(table: pd.DataFrame, name: str, origin: str) -> pd.Series:
    """One column in the contract's type; nothing becomes null."""
    column = table[name]
    kind = NUMBERS.get(name)
    if kind is None:
        return column.astype("object").map(str, na_action="ignore").astype("str")
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = column.notna() & numbers.isna()
    if kind == "Int64":
        wrong |= numbers.notna() & (numbers != numbers.round())
    if wrong.any():
        first = table[wrong].iloc[0]
        raise DataError(
            f"{origin}: {wrong.sum()} rows whose {name} is no {'whole ' if kind == 'Int64' else ''}number, "
            f"first {first['image_id']}: {first[name]!r}; mend the file or leave the cell empty"
        )
    return numbers.astype(kind)


def failures(table: pd.DataFrame, schema: pa.DataFrameSchema = Raw) -> pd.DataFrame:
    """Every value that breaks the contract: image_id, rule, value, expected; the index is the table's own.

    Raises DataError where the table has other columns or types than the schema.
    """
    try:
        schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
    else:
        return pd.DataFrame({name: [] for name in ("image_id", "rule", "value", "expected")}, dtype="str")
    if cases["index"].isna().any():
        raise DataError(_structure(cases[cases["index"].isna()]))
    rows = cases["index"].to_list()
    texts = [_BUILT_IN.get(check, check).split(": ", 1) for check in cases["check"]]
    found = pd.DataFrame(
        {
            "image_id": table.loc[rows, "image_id"].to_list(),
            "rule": [f"{column}.{name}" for column, (name, _) in zip(cases["column"], texts, strict=True)],
            "value": [_written(value) for value in cases["failure_case"]],
            "expected": [expected for _, expected in texts],
        },
        index=rows,
        dtype="str",
    )
    return found.sort_values(["image_id", "rule"], kind="stable")


def _structure(cases: pd.DataFrame) -> str:
    """What is wrong with columns and types as one message."""
    words = {
        "column_in_dataframe": "is missing",
        "column_in_schema": "is unknown",
        "column_ordered": "is misplaced",
    }
    problems = [
        f"{found} {words[check]}" if check in words else f"{column} is {found}, expected {check}"
        for column, check, found in zip(cases["column"], cases["check"], cases["failure_case"], strict=True)
    ]
    return "the table's columns break the contract of components/records.py: " + "; ".join(problems)


def _written(value: object) -> str:
    return "nothing" if pd.isna(value) else str(value)  # type: ignore[call-overload]  # any cell


def check(table: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """The table itself, or a DataError that lists every failure at once: image, column, value, expected."""
    found = failures(table, schema)
    if found.empty:
        return table
    lines = [
        f"{row.image_id}: {str(row.rule).split('.')[0]} is {row.value!r}, expected {row.expected}"
        for row in found.itertuples()
    ]
    raise DataError(f"{len(lines)} values break the contract of components/records.py:\n" + "\n".join(lines))


def apply_labels(table: pd.DataFrame, mapping: Mapping[str, str]) -> pd.DataFrame:
    """A copy with `label` filled from `diagnosis`; a diagnosis outside the mapping stays, without a label."""
    return table.assign(label=table["diagnosis"].map(dict(mapping)).astype("str"))


def image_files(root: Path) -> list[str]:
    """Every image file below a folder, as sorted POSIX paths relative to it, hidden ones left out.

    Those without a row are a data set's orphans: `set(image_files(root)) - set(table["path"])`.
    """
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        parent = Path(folder).relative_to(root)
        found += [(parent / name).as_posix() for name in names if _is_image(name)]
    return sorted(found)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def write_records(table: pd.DataFrame, path: Path) -> None:
    """Write a table as parquet, sorted by image_id (then path): equal tables give equal bytes."""
    ordered = table.sort_values(["image_id", "path"], kind="stable", ignore_index=True)
    with whole(path) as scratch:
        ordered.to_parquet(scratch, engine="pyarrow", index=False)


def read_records(path: Path) -> pd.DataFrame:
    """The table of `write_records`; raises DataError where there is none."""
    if not path.is_file():
        raise DataError(f"{path}: no such table; run the stage that writes it (dvc repro)")
    return pd.read_parquet(path, engine="pyarrow")
