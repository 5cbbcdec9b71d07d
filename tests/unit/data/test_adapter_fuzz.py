"""Every adapter on mutated tables and files: each row is accepted, quarantined, or an error names what is wrong."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.base.errors import DataError
from components.base.families import members
from components.base.normal_form import clean
from components.data.ids import ALL_IDS
from components.data.privacy import pseudonymise
from components.data.read_report import ReadReport
from components.data.records import Raw, check, failures
from tests.unit.data.example_data import FAMILY, example_of, write_example
from tests.unit.data.table_mutations import Written, mutate, parse

ADAPTERS = members(FAMILY)
QUICK, THOROUGH = 20, 1100
"""Mutated data sets of each adapter."""


def tables_of(name: str) -> dict[str, Written]:
    """The example's CSV tables by path."""
    return {path: parse(text) for path, text in example_of(name).texts.items() if path.lower().endswith(".csv")}


def read_and_check(adapter, root: Path) -> tuple[str, int, ReadReport]:
    """The outcome of one data set: `refused`, or the number of rows, each accepted or quarantined."""
    report = ReadReport()
    try:
        table = adapter.read(report)
    except DataError as error:
        assert len(str(error)) > 20, repr(error)
        return "refused", 0, report
    quarantined = set(failures(table).index)
    accepted = table[~table.index.isin(quarantined)]
    if len(accepted):
        check(accepted.reset_index(drop=True), Raw)
    assert len(accepted) + len(quarantined) == len(table)
    hidden = pseudonymise(table, ALL_IDS, b"k" * 32)
    assert len(hidden) == len(table)
    for column in ALL_IDS:  # equal ids stay equal, and no other ones become so
        known = table[column].fillna("") != ""
        assert hidden.loc[known, column].nunique() == (table["source"] + "\0" + table[column])[known].nunique()
    return "read", len(table), report


def expected_rows(name: str, tables: dict[str, Written], report: ReadReport) -> int | None:
    """Rows that must be in the table, counted without the adapter; None where the bytes or rows are damaged."""
    if not tables or any(table.damage or table.torn for table in tables.values()):
        return None
    joined = {join.table for join in report.joins}
    used = [tables[table.file] for table in report.tables if table.file not in joined]
    if name == "scin":  # one row an image: three columns of the cases
        return sum(_filled_cells(table, ("image_1_path", "image_2_path", "image_3_path")) for table in used)
    return sum(table.data_rows for table in used)


def _filled_cells(table: Written, names: tuple[str, ...]) -> int:
    places = [place for place, title in enumerate(table.rows[0]) if clean(title) in names]
    return sum(bool(clean(row[place])) for row in table.below() for place in dict.fromkeys(places))


def run(name: str, seed: int) -> str:
    """One mutated data set of an adapter."""
    tables = tables_of(name)
    random = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        adapter = write_example(name, root)
        chosen = random.sample(sorted(tables), k=random.randrange(1, len(tables) + 1)) if tables else []
        mutated = {**tables, **{path: mutate(tables[path], random.randrange(2**32)) for path in chosen}}
        for path in chosen:
            (root / path).write_bytes(mutated[path].encode())
        disturbed = not tables or random.random() < 0.2
        if disturbed:
            disturb_files(root, random)
        outcome, rows, report = read_and_check(adapter, root)
        if outcome == "read" and not disturbed:
            expected = expected_rows(name, mutated, report)
            assert expected is None or rows == expected, (name, seed, rows, expected)
        return outcome


def disturb_files(root: Path, random: Random) -> None:
    """One file of the data set removed, renamed, emptied, cut or overwritten."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if not files:
        return
    file = random.choice(files)
    kind = random.randrange(6)
    if kind == 0:
        file.unlink()
    elif kind == 1:
        file.rename(file.with_name(file.name + random.choice([".bak", ".JPG", "", " ", ".gz"])))
    elif kind == 2:
        file.write_bytes(b"")
    elif kind == 3:
        file.write_bytes(file.read_bytes()[: random.randrange(file.stat().st_size + 1)])
    elif kind == 4:
        file.write_bytes(random.randbytes(random.randrange(300)))
    else:
        shutil.copy(file, file.with_name("copy of " + file.name))


@pytest.mark.parametrize("name", ADAPTERS)
def test_mutated_data_sets_lose_no_row(name):
    outcomes: Counter[str] = Counter()

    @settings(max_examples=QUICK, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32 - 1))
    def one(seed: int) -> None:
        outcomes[run(name, seed)] += 1

    one()
    assert sum(outcomes.values()) >= QUICK


@pytest.mark.thorough
@pytest.mark.parametrize("name", ADAPTERS)
def test_many_mutated_data_sets_lose_no_row(name):
    outcomes = Counter(run(name, seed) for seed in range(THOROUGH))
    print(name, dict(outcomes))  # noqa: T201  # the counts that docs/your-data.md states
    assert outcomes["read"] > THOROUGH // 20
    assert sum(outcomes.values()) == THOROUGH


def test_the_fuzz_covers_twenty_thousand_data_sets():
    assert len(ADAPTERS) * THOROUGH >= 20_000


def test_a_lost_row_would_be_noticed():
    """The count of this file is not the adapter's own."""
    tables = tables_of("ham10000")
    report = ReadReport()
    with tempfile.TemporaryDirectory() as folder:
        adapter = write_example("ham10000", Path(folder))
        rows = len(adapter.read(report))
    path = next(iter(tables))
    longer = Written((*tables[path].rows, ("L9", "ISIC_9", "nv", "histo", "1", "male", "back")))
    assert expected_rows("ham10000", tables, report) == rows
    assert expected_rows("ham10000", {path: longer}, report) == rows + 1
