"""The stage ingest: the table it writes, and data sets that it refuses."""

from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError
from components.base.log import SilentLog
from components.data.adapters.folder import Config as Folder
from components.data.labels import Labels
from components.data.records import Raw, failures, read_records
from flows.ingest import ingest
from flows.settings import Settings, load_settings
from flows.settings.data import Privacy
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
    assert log.lines == ["1 images have no label: labels.scheme two lacks ['wart']"]
    table = read_records(settings.paths.records).set_index("image_id")
    assert table.loc["wart/c.jpg", "diagnosis"] == "wart"
    assert pd.isna(table.loc["wart/c.jpg", "label"])


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
    with pytest.raises(DataError, match=r"none of 1 images has a diagnosis .*found \['wart'\], expected some of"):
        ingest.work(dataset=data, labels=LABELS, privacy=PUBLIC, paths=settings.paths, log=SilentLog())
    assert not settings.paths.records.exists()
