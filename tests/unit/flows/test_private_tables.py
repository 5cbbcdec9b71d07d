"""With a secret key no message, log line or metric has a word of the data set's tables, whatever is wrong with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from components.base.errors import DataError, DermflowError
from components.base.families import members
from components.base.log import SilentLog
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.read_report import ReadReport
from components.data.source_error import SourceError
from flows.ingest import ingest
from flows.settings.data import Privacy
from flows.settings.study import Paths
from flows.tracking.private_words import describe_error
from tests.unit.data.example_data import FAMILY, example_of, paint, write_example
from tests.unit.data.table_mutations import Written, mutate, parse
from tests.unit.flows.small_dataset import place

NAME = "mustermann"  # in lower case, as some columns are
SECRET = Privacy(key="secret")
WITH_TABLES = [name for name in members(FAMILY) if any(path.endswith(".csv") for path in example_of(name).texts)]
SEEDS = 16


def planted(table: Written, random: Random) -> Written:
    """The table with the name in a column: behind each of its cells, or instead of them, and perhaps in its header."""
    column, number = random.randrange(len(table.rows[0])), iter(range(10**6))
    whole, header = random.random() < 0.4, random.random() < 0.2
    rows = [
        [*row[:column], (f"{NAME}{next(number)}" if whole else f"{row[column]}{NAME}"), *row[column + 1 :]]
        for row in table.rows
    ]
    if not header:
        rows[0] = list(table.rows[0])
    return Written(tuple(map(tuple, rows)))


def labels_of(adapter: Adapter) -> Labels:
    """Two classes of the example's diagnoses."""
    first, *others = adapter.read(ReadReport())["diagnosis"].dropna().unique()
    return Labels(scheme="two", schemes={"two": {"first": (first,), "others": (*others, "another")}})


def say(adapter: Adapter, labels: Labels, paths: Paths) -> tuple[str, Exception | None]:
    """Everything that leaves the stage ingest, and its error."""
    log = SilentLog()
    try:
        counts: Mapping[str, object] = ingest.work(dataset=adapter, labels=labels, privacy=SECRET, paths=paths, log=log)
    except Exception as error:
        told = describe_error(error, "ingest", private=True)
        return "\n".join([*log.lines, told, str(error) if isinstance(error, DataError) else ""]), error
    return "\n".join([*log.lines, json.dumps(counts, ensure_ascii=False)]), None


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path.parent / f"{tmp_path.name}.key"
    file.write_text("k" * 40)
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(file))
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")


def test_adapters_with_tables_are_found() -> None:
    assert {"table", "isic", "ham10000", "pad_ufes"} <= set(WITH_TABLES)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("name", WITH_TABLES)
def test_no_word_of_a_broken_table_is_said(name: str, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(SEEDS):
        random, root = Random(seed), tmp_path / str(seed)
        adapter = write_example(name, root)
        labels = labels_of(adapter)
        paths = [path for path in example_of(name).texts if path.endswith(".csv")]
        file = root / random.choice(paths)
        table = planted(parse(file.read_text("utf-8")), random)
        file.write_bytes((mutate(table, seed) if seed % 3 else table).encode())
        said, error = say(adapter, labels, place(tmp_path / f"made{seed}"))
        assert NAME not in said, (seed, said)
        kept = isinstance(error, DermflowError) and NAME in error.complete
        outcomes["read" if error is None else "kept" if kept else "refused"] += 1
        assert error is None or isinstance(error, DataError), (seed, error)
    assert outcomes["read"] and outcomes["read"] < SEEDS, outcomes


CLINIC = "image,dx,patient,age,sex\nim1,nv,P1,30,f\nim2,mel,P2,40,m\nim3,nv,P3,50,f\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("30", NAME),
        ("im2,mel,P2", f"im2,mel,{NAME},x"),
        ("im2", f'"im2{NAME}'),
        ("image,dx", f"image{NAME},{NAME}"),
        ("nv", NAME),
        ("P1,30,f", f"{NAME}\n\n,,,,\n{NAME}"),
    ],
)
@pytest.mark.usefixtures("key")
def test_the_owner_finds_the_word_on_the_host(tmp_path: Path, old: str, new: str) -> None:
    root = paint(tmp_path / "own", "im1.png", "im2.png", "im3.png")
    (root / "t.csv").write_text(CLINIC.replace(old, new))
    columns = {"image_id": "image", "diagnosis": "dx", "patient_id": "patient", "age": "age", "sex": "sex"}
    adapter = write_example("table", tmp_path / "other").model_copy(
        update={"path": root, "file": "t.csv", "columns": columns}
    )
    labels = Labels(scheme="two", schemes={"two": {"mel": ("mel",), "nv": ("nv",)}})
    paths = place(tmp_path / "made")
    said, error = say(adapter, labels, paths)
    assert NAME not in said
    kept = [file for file in (Path(".dvc/tmp/dermflow/errors/ingest.txt"), paths.read_report) if file.exists()]
    if error is None:
        assert "see the quarantine file" in said  # as a diagnosis of no class, which validate writes there
    elif error.words:
        assert any(NAME in file.read_text("utf-8") for file in kept)
        assert ".dvc/tmp/dermflow/errors/ingest.txt" in said
    else:
        assert "line" in str(error)  # whose words are in the table


def test_a_file_that_cannot_be_read_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = SourceError("unreadable", f"{NAME}.tar is not an intact tar")
    assert describe_error(error, "validate", private=False) == f"SourceError: {NAME}.tar is not an intact tar"
    said = describe_error(error, "validate", private=True)
    assert said.startswith("SourceError: a file of the data set is unreadable; which one is in ") and NAME not in said
    kept = Path(".dvc/tmp/dermflow/errors/validate.txt")
    assert NAME in kept.read_text() and kept.stat().st_mode & 0o077 == 0


def test_the_message_of_an_unexpected_error_stays_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        {"a": 1}[NAME]
    except KeyError as error:
        said = describe_error(error, "pack", private=True)
        assert NAME in describe_error(error, "pack", private=False)
    assert NAME not in said and said.startswith("KeyError in\n") and "test_private_tables.py" in said
    assert NAME in Path(".dvc/tmp/dermflow/errors/pack.txt").read_text()
