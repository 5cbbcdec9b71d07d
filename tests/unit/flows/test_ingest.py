"""The stage ingest: the table it writes, and data sets that it refuses."""

import json
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError
from components.base.log import SilentLog
from components.data.adapters.folder import Config as Folder
from components.data.adapters.table import Config as Table
from components.data.ids import NO_IDS
from components.data.labels import Labels
from components.data.records import Raw, failures, read_records
from flows.ingest import ingest
from flows.settings import Settings, load_settings
from flows.settings.data import Privacy
from flows.stage_io.datasets import read_report
from flows.synthesize import synthesize

PUBLIC = Privacy(key="public")
LABELS = Labels(scheme="two", schemes={"two": {"benign": ("nv",), "malignant": ("mel",)}})


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def settings(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The repository's settings, with tmp_path as working directory: every path lands there."""
    read = load_settings(repo / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return read


def test_the_demo_draws_and_ingests_itself(settings: Settings):
    few = settings.synthesize.model_copy(update={"lesions": 17, "unlabelled": 6, "image_size": 32})
    log = SilentLog()
    drawn = synthesize.work(synthesize=few, paths=settings.paths, log=log)
    counts = ingest.work(
        dataset=settings.dataset, labels=settings.labels, privacy=PUBLIC, paths=settings.paths, log=log
    )
    assert counts["images"] == drawn["images"] == counts["labelled"] + counts["unlabelled"]
    assert counts["unlabelled"] == drawn["unlabelled"] == 6
    assert sum(counts["classes"].values()) == counts["labelled"]
    assert all(counts["classes"].values())
    table = read_records(settings.paths.records)
    assert list(table) == list(Raw.columns)
    assert failures(table).empty
    assert table["image_id"].is_monotonic_increasing


def test_ingest_keeps_diagnoses_outside_the_map_and_says_so(settings: Settings, tmp_path: Path):
    log = SilentLog()
    data = Folder(path=touch(tmp_path / "own", "nv/a.jpg", "mel/b.jpg", "wart/c.jpg", "unlabelled/d.jpg"))
    counts = ingest.work(dataset=data, labels=LABELS, privacy=PUBLIC, paths=settings.paths, log=log)
    assert (counts["labelled"], counts["outside"], counts["unlabelled"]) == (2, 1, 1)
    assert counts["classes"] == {"benign": 1, "malignant": 1}
    assert log.lines[-1] == "1 images have no label: labels.scheme two lacks 1 words: 'wart'"
    table = read_records(settings.paths.records).set_index("image_id")
    assert table.loc["wart/c.jpg", "diagnosis"] == "wart"
    assert pd.isna(table.loc["wart/c.jpg", "label"])


def test_ingest_counts_no_lesions_and_says_loudly_where_no_ids_are_known(settings: Settings, tmp_path: Path):
    log = SilentLog()
    data = Folder(path=touch(tmp_path / "own", "nv/a.jpg", "mel/b.jpg"))
    counts = ingest.work(dataset=data, labels=LABELS, privacy=PUBLIC, paths=settings.paths, log=log)
    assert (counts["lesions"], counts["patients"]) == (0, 0)
    assert f"warning: {NO_IDS}" in log.lines
    assert counts["read"]["known_ids"] == {"patient_id": 0, "lesion_id": 0}
    assert counts["read"]["warnings"] == {"no_ids": 2}
    data = Folder(path=data.path, lesion_pattern="(.)[.]", patient_pattern="(.)[.]")
    counts = ingest.work(dataset=data, labels=LABELS, privacy=PUBLIC, paths=settings.paths, log=log)
    assert (counts["lesions"], counts["patients"]) == (2, 2)
    assert counts["read"]["warnings"] == {}


ROWS = "image,dx,patient\na,nv,Anna Muster\nb,mel,anna muster\nc,nv,NA\nd,mel, Anna Muster\n"


@pytest.mark.parametrize("key", ["public", "secret"])
def test_examples_of_warnings_are_logged_only_with_public_data(settings: Settings, tmp_path: Path, monkeypatch, key):
    root = touch(tmp_path / "own", *(f"{name}.png" for name in "abcd"))
    (root / "t.csv").write_text(ROWS)
    key_file = tmp_path.parent / f"{tmp_path.name}.key"
    key_file.write_text("k" * 40)
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(key_file))
    data = Table(path=root, file="t.csv", columns={"image_id": "image", "diagnosis": "dx", "patient_id": "patient"})
    log = SilentLog()
    counts = ingest.work(dataset=data, labels=LABELS, privacy=Privacy(key=key), paths=settings.paths, log=log)
    assert counts["read"]["warnings"] == {"ids_not_stated": 1, "partly_known_ids": 1, "similar_ids": 1}
    assert sum(counts["read"]["cells_changed"].values()) == 1
    said = [line for line in log.lines if "differ only in case" in line]
    assert len(said) == 1
    assert ("Anna Muster" in " ".join(log.lines)) is (key == "public")
    assert "Muster" not in json.dumps(counts)
    assert "'Anna Muster' and 'anna muster'" in settings.paths.read_report.read_text("utf-8")
    assert read_report(settings.paths.read_report).counts() == counts["read"]


def test_ingest_writes_the_same_bytes_again(settings: Settings, tmp_path: Path):
    data = Folder(path=touch(tmp_path / "own", "nv/a.jpg", "mel/b.jpg"))
    written = []
    for _ in range(2):
        ingest.work(dataset=data, labels=LABELS, privacy=PUBLIC, paths=settings.paths, log=SilentLog())
        written.append(settings.paths.records.read_bytes())
    assert written[0] == written[1]


def test_ingest_says_where_a_missing_data_set_belongs(settings: Settings):
    with pytest.raises(DataError, match=r"dataset.path = gone: no such folder; put the data set there"):
        ingest.work(
            dataset=Folder(path=Path("gone")), labels=LABELS, privacy=PUBLIC, paths=settings.paths, log=SilentLog()
        )


def test_ingest_stops_where_no_diagnosis_is_in_the_map(settings: Settings, tmp_path: Path):
    data = Folder(path=touch(tmp_path / "own", "wart/a.jpg"))
    with pytest.raises(DataError, match=r"none of 1 images has a diagnosis .*, expected some of") as caught:
        ingest.work(dataset=data, labels=LABELS, privacy=PUBLIC, paths=settings.paths, log=SilentLog())
    assert caught.value.words == "found 1 words: 'wart'"
    assert not settings.paths.records.exists()
