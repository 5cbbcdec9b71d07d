"""The one table: a row an image, and the contract that every stage relies on.

Structure and contents are two questions. `conform` gives any adapter's table the contract's columns and
types, or stops; `failures` finds the rows that break the contract, so that they can be quarantined and named.
Each table that a stage hands on has its schema here, and pandera does the checking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
import pandera.pandas as pa

from components.base.errors import DataError
from components.base.files import whole

SEXES = ("male", "female", "unknown")
NUMBERS: Mapping[str, Literal["float64", "Int64"]] = {"age": "float64", "skin_type": "Int64"}

PLACES = ("train", "val", "test", "unlabelled", "withheld")  # of the column `split`
UNLABELLED = ("unlabelled", "withheld")  # withheld: belongs to val or test, and is used nowhere

# A check's text is "<rule>: <expected>"; `failures` takes both from there. The rule of a check that sees several
# columns is "<column>.<rule>": the column that it speaks of.
_BUILT_IN = {"field_uniqueness": "unique: a value that no other row has", "not_nullable": "missing: a value"}


def _rule(name: str, expected: str, check: str, *limits: object) -> pa.Check:
    """One of pandera's own checks of a column, under our name for the rule."""
    made: pa.Check = getattr(pa.Check, check)(*limits, error=f"{name}: {expected}")
    return made


def is_relative(path: str) -> bool:
    """Whether a path is written relative, in POSIX form, and never climbs out of its folder."""
    return _fault(path) is None


def _fault(path: str) -> str | None:
    """What is wrong with a path, in words: the path itself can name a person, and this text is shown to others."""
    faults = {
        "is empty": path == "",
        "has a backslash": "\\" in path,
        "is absolute": path.startswith("/"),
        "has a drive": path[1:2] == ":",
        "climbs by '..'": "/../" in f"/{path}/",
    }
    return next((words for words, true in faults.items() if true), None)


def _are_relative(paths: pd.Series) -> pd.Series:
    """`is_relative` of each path, without a Python object a row."""
    climbs = ("/" + paths + "/").str.contains("/../", regex=False)
    outside = paths.str.contains("\\", regex=False) | paths.str.startswith("/") | (paths.str.slice(1, 2) == ":")
    return ~(climbs | outside | (paths == ""))


def _values(table: pd.DataFrame, name: str, of: str) -> tuple[pd.Series, pd.Series]:
    """Two columns without the rows where either is missing; of group and split, the use that a split has."""
    columns = table[[name, of]].dropna()
    if of == "split":
        columns = columns[columns[of] != "withheld"].replace({of: {"unlabelled": "train"}})
    return columns[name], columns[of]


def _crowded(name: str, of: str) -> Callable[[pd.DataFrame], pd.Series]:
    """A check that is false in the rows whose `name` has two values of `of` or more; missing ones count for none."""

    def check(table: pd.DataFrame) -> pd.Series:
        if name not in table or of not in table:
            return pd.Series(True, index=table.index)  # what is missing is a fault of structure
        names, values = _values(table, name, of)
        pairs = pd.DataFrame({"name": names, "value": values}).drop_duplicates()["name"]
        return ~table[name].isin(pairs[pairs.duplicated()])

    return check


def _has_its_place(table: pd.DataFrame) -> pd.Series:
    """False where an image with a label stands among those without, or the other way round."""
    if "label" not in table or "split" not in table:
        return pd.Series(True, index=table.index)
    return table["label"].isna() == table["split"].isin(UNLABELLED)


def _of_several(name: str, expected: str, check: Callable[[pd.DataFrame], pd.Series]) -> pa.Check:
    return pa.Check(check, error=f"{name}: {expected}")


# Rule -> the columns whose values, found together, are what is wrong.
_TOGETHER = {
    "lesion_id.one_diagnosis": ("lesion_id", "diagnosis"),
    "lesion_id.one_patient": ("lesion_id", "patient_id"),
    "group.one_split": ("group", "split"),
}

_text = _rule("empty", "at least one character", "str_length", 1, None)
_relative = pa.Check(_are_relative, error="inside: a POSIX path relative to the data set's folder, without '..'")
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
    checks=[
        _of_several("lesion_id.one_diagnosis", "one diagnosis a lesion", _crowded("lesion_id", "diagnosis")),
        _of_several("lesion_id.one_patient", "one patient a lesion", _crowded("lesion_id", "patient_id")),
    ],
    strict=True,
    ordered=True,
)
"""What ingest writes, once `failures` finds nothing."""

Accepted = pa.DataFrameSchema(
    {
        **Raw.columns,
        "sha256": pa.Column(str, _rule("form", "64 hexadecimal digits", "str_matches", r"^[0-9a-f]{64}$")),
        "width": pa.Column("int64", _rule("range", "at least 1 pixel", "ge", 1)),
        "height": pa.Column("int64", _rule("range", "at least 1 pixel", "ge", 1)),
        "twins": pa.Column(str, _text, nullable=True),  # smallest image_id of its near-duplicates; null: it has none
    },
    strict=True,
    ordered=True,
)
"""What validate lets through: Raw's columns and what the files said. A person may have let a lesion's contradictions
pass by hand; its rows are one group all the same."""

Split = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str, _text, unique=True),
        "label": pa.Column(str, _text, nullable=True),
        "group": pa.Column(str, _text),  # smallest image_id of those that belong together
        "split": pa.Column(str, _rule("words", f"one of {', '.join(PLACES)}", "isin", PLACES)),
        # with folds: the one in which it is tested; null: without a label in its group it is tested in none
        "fold": pa.Column("Int64", _rule("range", "0 or more, or nothing", "ge", 0), nullable=True, required=False),
    },
    checks=[
        _of_several("group.one_split", "one split a group", _crowded("group", "split")),
        _of_several("split.label", "train, val or test with a label, the others without", _has_its_place),
    ],
    strict=True,
    ordered=True,
)
"""What split writes."""

Packed = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str, _text, unique=True),
        "label": pa.Column(str, _text, nullable=True),
        "lesion_id": pa.Column(str, _text),
        "group": pa.Column(str, _text),
        "crc32": pa.Column("int64", _rule("range", "0 to 4294967295", "in_range", 0, 2**32 - 1)),
    },
    strict=True,
    ordered=True,
)
"""The index of packed images: who each is, and the checksum of its pixels."""

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
            f"expected {list(Raw.columns)} (components/data/records.py)"
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
    cases = _named(cases)
    rows = cases["index"].to_list()
    found = pd.DataFrame(
        {
            "image_id": table.loc[rows, "image_id"].to_list(),
            "rule": cases["rule"].to_list(),
            "value": _shown(cases, table),
            "expected": cases["expected"].to_list(),
        },
        index=rows,
        dtype="str",
    )
    return found.sort_values(["image_id", "rule"], kind="stable")


def _named(cases: pd.DataFrame) -> pd.DataFrame:
    """Pandera's cases with `rule` and `expected`; of a check that sees all columns, the one that it speaks of."""
    texts = cases["check"].replace(_BUILT_IN).str.split(": ", n=1, expand=True)
    several = texts[0].str.contains(".", regex=False)
    own = ~several | (texts[0].str.split(".").str[0] == cases["column"])
    rule = texts[0].where(several, cases["column"] + "." + texts[0])
    return cases.assign(rule=rule, expected=texts[1])[own]


def _shown(cases: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """What was found in each case: the value, or the values that do not go together."""
    together = {
        rule: _found_together(table, *columns) for rule, columns in _TOGETHER.items() if (cases["rule"] == rule).any()
    }
    return [
        together[rule][value] if rule in together else str(_fault(value)) if rule == "path.inside" else _written(value)
        for rule, value in zip(cases["rule"], cases["failure_case"], strict=True)
    ]


def _found_together(table: pd.DataFrame, name: str, of: str) -> dict[object, str]:
    """Lesion -> `mel, nv`, for those with several."""
    names, values = _values(table, name, of)
    pairs = pd.DataFrame({"name": names, "value": values}).drop_duplicates().sort_values(["name", "value"])
    pairs = pairs[pairs["name"].duplicated(keep=False)]
    return pairs.groupby("name")["value"].agg(", ".join).to_dict()


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
    return "the table's columns break the contract of components/data/records.py: " + "; ".join(problems)


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
    raise DataError(f"{len(lines)} values break the contract of components/data/records.py:\n" + "\n".join(lines))


def apply_labels(table: pd.DataFrame, mapping: Mapping[str, str]) -> pd.DataFrame:
    """A copy with `label` filled from `diagnosis`; a diagnosis outside the mapping stays, without a label."""
    return table.assign(label=table["diagnosis"].map(dict(mapping)).astype("str"))


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
