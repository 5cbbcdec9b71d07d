"""The tables between stages: one row an image, with the columns, types and rules that every stage relies on.

Structure and content are checked separately. `conform` gives the table of any adapter the right columns and types, or
raises; `failures` finds the rows that break a rule, so that they can be quarantined with a reason. The schemas are Raw
(of ingest), Accepted (of validate), Split (of split) and Packed (of pack); pandera checks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pandas as pd
import pandera.pandas as pa

from components.base.errors import DataError
from components.base.files import whole
from components.base.normal_form import clean
from components.data.ids import ALL_IDS, check_ids, normalise_ids
from components.data.privacy import check_sources
from components.data.read_report import ReadReport
from components.data.vocabulary import CONFIRMATIONS

CONTENT = ("sha256", "twins")
"""Columns of image content: rows that share a value are always one group."""

SEXES = ("male", "female", "unknown")
NUMBER_TYPES: Mapping[str, Literal["float64", "Int64"]] = {"age": "float64", "skin_type": "Int64"}
"""Type of the numeric columns; all others are text."""

LABELLED_SPLITS = ("train", "val", "test")
UNLABELLED_SPLITS = ("unlabelled", "withheld")
"""`unlabelled` is used in pretraining; `withheld` is used nowhere, as its group belongs to val or test."""

USED_SPLITS = ("train", "unlabelled", "val", "test")
"""The splits whose images are packed and may not share a patient, a lesion or an image."""

# The error text of a check is "<rule>: <expected>", of which `failures` takes both. A check across columns has the rule
# "<column>.<rule>", with the column that it reports.
_BUILT_IN = {"field_uniqueness": "unique: a value that no other row has", "not_nullable": "missing: a value"}


def _rule(name: str, expected: str, check: str, *limits: object) -> pa.Check:
    """A built-in check of pandera for one column, with the name of our rule."""
    made: pa.Check = getattr(pa.Check, check)(*limits, error=f"{name}: {expected}")
    return made


def is_relative(path: str) -> bool:
    """Whether a path is relative, in POSIX form and without `..`."""
    return _fault(path) is None


def _fault(path: str) -> str | None:
    """What is wrong with a path, or None; without the path itself, since it may contain a name and others see this."""
    faults = {
        "is empty": path == "",
        "has a backslash": "\\" in path,
        "is absolute": path.startswith("/"),
        "has a drive": path[1:2] == ":",
        "contains '..'": "/../" in f"/{path}/",
    }
    return next((words for words, true in faults.items() if true), None)


def _are_relative(paths: pd.Series) -> pd.Series:
    """`is_relative` of each path, vectorised."""
    parents = ("/" + paths + "/").str.contains("/../", regex=False)
    outside = paths.str.contains("\\", regex=False) | paths.str.startswith("/") | (paths.str.slice(1, 2) == ":")
    return ~(parents | outside | (paths == ""))


def _values(table: pd.DataFrame, name: str, of: str) -> tuple[pd.Series, pd.Series]:
    """Two columns without rows where either is missing; of splits, unlabelled counts as train, withheld as missing."""
    columns = table[[name, of]].dropna()
    if of == "split":
        columns = columns[columns[of] != "withheld"].replace({of: {"unlabelled": "train"}})
    return columns[name], columns[of]


def _one_value(name: str, of: str) -> Callable[[pd.DataFrame], pd.Series]:
    """A check that is False in the rows whose `name` has two or more values of `of`; missing values do not count."""

    def check(table: pd.DataFrame) -> pd.Series:
        if name not in table or of not in table:
            return pd.Series(True, index=table.index)  # a missing column is an error of structure
        names, values = _values(table, name, of)
        pairs = pd.DataFrame({"name": names, "value": values}).drop_duplicates()["name"]
        return ~table[name].isin(pairs[pairs.duplicated()])

    return check


def _label_fits_split(table: pd.DataFrame) -> pd.Series:
    """False where an image with a label is in an unlabelled split, or one without a label in a labelled split."""
    if "label" not in table or "split" not in table:
        return pd.Series(True, index=table.index)
    return table["label"].isna() == table["split"].isin(UNLABELLED_SPLITS)


def _rule_across(name: str, expected: str, check: Callable[[pd.DataFrame], pd.Series]) -> pa.Check:
    return pa.Check(check, error=f"{name}: {expected}")


# Rule -> its two columns: one value of the first has several values of the second.
_CONTRADICTIONS = {
    "lesion_id.one_diagnosis": ("lesion_id", "diagnosis"),
    "lesion_id.one_patient": ("lesion_id", "patient_id"),
    "group.one_split": ("group", "split"),
}

_SPLIT_NAMES = (*LABELLED_SPLITS, *UNLABELLED_SPLITS)
_text = _rule("empty", "at least one character", "str_length", 1, None)
_relative = pa.Check(_are_relative, error="inside: a POSIX path relative to the data set's folder, without '..'")
_ages = _rule("range", "0 to 120 years, or nothing", "in_range", 0, 120)
_sexes = _rule("words", f"one of {', '.join(SEXES)}", "isin", SEXES)
_confirmed = _rule("words", f"one of {', '.join(CONFIRMATIONS)}", "isin", CONFIRMATIONS)
_types = _rule("range", "1 to 6 (Fitzpatrick), or nothing", "in_range", 1, 6)

Raw = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str, _text, unique=True),
        "path": pa.Column(str, _relative),  # relative to the data set's folder
        "diagnosis": pa.Column(str, _text, nullable=True),  # term of the data set; null: unlabelled
        "label": pa.Column(str, _text, nullable=True),  # target class; null: unlabelled, or no class has the diagnosis
        "lesion_id": pa.Column(str, _text),  # the image_id where a data set has no lesion ids
        "patient_id": pa.Column(str, _text, nullable=True),
        "age": pa.Column(NUMBER_TYPES["age"], _ages, nullable=True),  # years
        "sex": pa.Column(str, _sexes),
        "site": pa.Column(str, _text),
        "skin_type": pa.Column(NUMBER_TYPES["skin_type"], _types, nullable=True),
        # how the diagnosis was confirmed; tables from before this column lack it
        "confirmation": pa.Column(str, _confirmed, required=False),
        "source": pa.Column(str, _text),  # name of the data set
    },
    checks=[
        _rule_across("lesion_id.one_diagnosis", "one diagnosis a lesion", _one_value("lesion_id", "diagnosis")),
        _rule_across("lesion_id.one_patient", "one patient a lesion", _one_value("lesion_id", "patient_id")),
    ],
    strict=True,
    ordered=True,
)
"""The table of ingest, where `failures` finds nothing; until validation, rows may break its rules."""

Accepted = pa.DataFrameSchema(
    {
        **Raw.columns,
        "sha256": pa.Column(str, _rule("form", "64 hexadecimal digits", "str_matches", r"^[0-9a-f]{64}$")),
        "width": pa.Column("int64", _rule("range", "at least 1 pixel", "ge", 1)),
        "height": pa.Column("int64", _rule("range", "at least 1 pixel", "ge", 1)),
        "twins": pa.Column(str, _text, nullable=True),  # smallest image_id among its near-duplicates; null: none
    },
    strict=True,
    ordered=True,
)
"""The table of validate: columns of Raw and facts about the files. Without the rules on lesions, since a user may have
accepted a lesion with two diagnoses; its rows form one group in any case."""

Split = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str, _text, unique=True),
        "label": pa.Column(str, _text, nullable=True),
        "group": pa.Column(str, _text),  # smallest image_id of the group
        "split": pa.Column(str, _rule("words", f"one of {', '.join(_SPLIT_NAMES)}", "isin", _SPLIT_NAMES)),
        # with folds: the fold that tests it; null: no image of its group has a label
        "fold": pa.Column("Int64", _rule("range", "0 or more, or nothing", "ge", 0), nullable=True, required=False),
    },
    checks=[
        _rule_across("group.one_split", "one split a group", _one_value("group", "split")),
        _rule_across("split.label", "train, val or test with a label, the others without", _label_fits_split),
    ],
    strict=True,
    ordered=True,
)
"""The table of split."""

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
"""The index of packed images: the ids of each, and the checksum of its pixels."""

_REQUIRED = ("image_id", "path", "source")
_UNKNOWN = {"sex": "unknown", "site": "unknown", "confirmation": "unknown"}


def conform(table: pd.DataFrame, origin: str, report: ReadReport) -> pd.DataFrame:
    """The table with the columns, order and types of `Raw`.

    Args:
        table: with at least image_id, path and source, and no column that Raw lacks.
        origin: the file or folder that messages name.
        report: gets what was changed in ids, and warnings about them.

    Returns:
        A copy with ids and words in one form (`normal_form`). A column that the data set lacks gets its default:
        lesion_id is the image_id, sex, site and confirmation are `unknown`, the others are null. Rows that break a
        rule are kept; `failures` finds them.

    Raises:
        DataError: for a missing or unknown column, a cell of a numeric column that is not a number, or a source that is
            no name of a data set.
    """
    missing = [name for name in _REQUIRED if name not in table]
    unknown = [str(name) for name in table if name not in Raw.columns]
    if missing or unknown:
        raise DataError(
            f"{origin}: columns missing: {missing}, unknown: {unknown}; "
            f"expected {list(Raw.columns)} (components/data/records.py)"
        )
    table = table.reindex(columns=list(Raw.columns)).reset_index(drop=True)
    typed = pd.DataFrame({name: _typed(table, name, origin, report) for name in Raw.columns})
    typed = normalise_ids(typed, report).astype({name: "str" for name in (*ALL_IDS, "source")})
    check_ids(typed, report)
    check_sources(typed["source"], origin)
    typed["lesion_id"] = typed["lesion_id"].fillna(typed["image_id"])
    return typed.fillna(_UNKNOWN).fillna({"image_id": "", "path": ""})


def _typed(table: pd.DataFrame, name: str, origin: str, report: ReadReport) -> pd.Series:
    """One column in the type that Raw gives it; empty cells are null."""
    column = table[name]
    kind = NUMBER_TYPES.get(name)
    if kind is None:
        text = column.astype("object").map(str, na_action="ignore")
        if name == "path" or name in ALL_IDS:
            return text.astype("str")
        tidy = text.map(clean, na_action="ignore")
        report.count_changed(name, int((tidy != text)[text.notna()].sum()))
        return tidy.replace("", None).astype("str")
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = column.notna() & numbers.isna()
    if kind == "Int64":
        wrong |= numbers.notna() & (numbers != numbers.round())
    if wrong.any():
        first = table[wrong].iloc[0]
        raise DataError(
            f"{origin}: {wrong.sum()} rows whose {name} is not a {'whole ' if kind == 'Int64' else ''}number; fix the "
            "file or leave the cell empty"
        ).with_words(f"first {first['image_id']}: {first[name]!r}")
    return numbers.astype(kind)


def failures(table: pd.DataFrame, schema: pa.DataFrameSchema = Raw) -> pd.DataFrame:
    """Every value that breaks a rule of the schema.

    Args:
        table: with the columns and types of the schema.
        schema: Raw, Accepted, Split or Packed.

    Returns:
        One row a failure, sorted by image_id and rule, indexed as `table`, with the text columns

        - image_id,
        - rule: `column.rule`, such as `age.range` or `lesion_id.one_diagnosis`,
        - value: what was found, `nothing` for null,
        - expected: what the rule allows.

    Raises:
        DataError: where columns or types differ from the schema.
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
    """The cases of pandera with `rule` and `expected`; of a check across columns, the case of the column it reports."""
    texts = cases["check"].replace(_BUILT_IN).str.split(": ", n=1, expand=True)
    several = texts[0].str.contains(".", regex=False)
    own = ~several | (texts[0].str.split(".").str[0] == cases["column"])
    rule = texts[0].where(several, cases["column"] + "." + texts[0])
    return cases.assign(rule=rule, expected=texts[1])[own]


def _shown(cases: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """What was found in each case: the value, or the values that contradict each other."""
    contradictions = {
        rule: _list_values(table, *columns)
        for rule, columns in _CONTRADICTIONS.items()
        if (cases["rule"] == rule).any()
    }
    return [
        contradictions[rule][value]
        if rule in contradictions
        else str(_fault(value))
        if rule == "path.inside"
        else _written(value)
        for rule, value in zip(cases["rule"], cases["failure_case"], strict=True)
    ]


def _list_values(table: pd.DataFrame, name: str, of: str) -> dict[object, str]:
    """Value of `name` -> its values of `of`, such as lesion -> `mel, nv`, where it has several."""
    names, values = _values(table, name, of)
    pairs = pd.DataFrame({"name": names, "value": values}).drop_duplicates().sort_values(["name", "value"])
    pairs = pairs[pairs["name"].duplicated(keep=False)]
    return pairs.groupby("name")["value"].agg(", ".join).to_dict()


def _structure(cases: pd.DataFrame) -> str:
    """The message about wrong columns and types."""
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
    """The table itself, where it satisfies the schema.

    Raises:
        DataError: with the number of failures of each rule; its words have a line for every failure: image, column,
            value, expected.
    """
    found = failures(table, schema)
    if found.empty:
        return table
    lines = [
        f"{row.image_id}: {str(row.rule).split('.')[0]} is {row.value!r}, expected {row.expected}"
        for row in found.itertuples()
    ]
    counts = ", ".join(f"{rule} {count}" for rule, count in found.groupby("rule").size().items())
    raise DataError(f"{len(lines)} values break the contract of components/data/records.py: {counts}").with_words(
        "\n".join(lines)
    )


def apply_labels(table: pd.DataFrame, mapping: Mapping[str, str]) -> pd.DataFrame:
    """The table with `label` filled from `diagnosis`.

    Args:
        table: with the column diagnosis.
        mapping: diagnosis -> target class.

    Returns:
        A copy; where the mapping lacks the diagnosis, the label is null.
    """
    return table.assign(label=table["diagnosis"].map(dict(mapping)).astype("str"))


def write_records(table: pd.DataFrame, path: Path) -> None:
    """Write a table as parquet, sorted by image_id and path, so that equal tables give equal bytes."""
    ordered = table.sort_values(["image_id", "path"], kind="stable", ignore_index=True)
    with whole(path) as scratch:
        ordered.to_parquet(scratch, engine="pyarrow", index=False)


def read_records(path: Path) -> pd.DataFrame:
    """The table that `write_records` wrote.

    Raises:
        DataError: where the file is missing.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such table; run the stage that writes it (dvc repro)")
    return pd.read_parquet(path, engine="pyarrow")
