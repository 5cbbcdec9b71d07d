"""The stage split: its table, its metrics, its settings."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from components.base.errors import DataError
from components.base.files import file_sha256
from components.base.log import SilentLog
from components.data.kept_split import kept_table
from components.data.labels import Labels
from components.data.read_report import ReadReport
from components.data.records import conform, read_records, write_records
from flows.settings.data import KeptSplit
from flows.settings.data import Split as SplitSettings
from flows.split import split as split_stage
from flows.stage_io.kept_split import read_kept, write_kept
from flows.stage_io.split_table import read_split
from tests.unit.data.accepted_rows import CLASSES, rows_of_lesions
from tests.unit.flows.small_dataset import SPLIT, SmallDataset


@pytest.mark.parametrize(
    "folds, fold, message", [(2, 0, "folds"), (5, 5, "0 to 4"), (None, 1, "expected 0, since split.folds is null")]
)
def test_a_fold_that_is_not_there_is_refused(folds: int | None, fold: int, message: str) -> None:
    plain = {"group_by": ["lesion_id"], "train": 0.6, "val": 0.2, "test": 0.2, "seed": 0}
    assert SplitSettings.model_validate(plain).folds is None
    assert SplitSettings.model_validate(plain | {"folds": 3, "fold": 2}).fold == 2
    with pytest.raises(ValueError, match=message):
        SplitSettings.model_validate(plain | {"folds": folds, "fold": fold})


def test_the_stage_writes_a_checked_table_and_tags_its_hash(tmp_path: Path) -> None:
    table = rows_of_lesions({"bcc": 20, "mel": 20, "nv": 40}).assign(sha256=lambda t: t["image_id"].map(_digest))
    given_columns = conform(
        table[["image_id", "label", "lesion_id", "source"]].assign(path="a.jpg"), "a test", ReadReport()
    )
    accepted = given_columns.assign(sha256=table["sha256"], width=9, height=9, twins=pd.array([None] * 80, "str"))
    write_records(accepted, tmp_path / "accepted.parquet")
    paths = SimpleNamespace(accepted=tmp_path / "accepted.parquet", split=tmp_path / "split.csv")
    chosen = SplitSettings(group_by=("lesion_id",), train=0.6, val=0.2, test=0.2, folds=5, fold=3, seed=0)
    labels = Labels(scheme="s", schemes={"s": {name: (name,) for name in CLASSES}})
    log = SilentLog()
    metrics = split_stage.work(chosen, labels, paths, log)
    assert log.words == {"dvc.split": hashlib.md5((tmp_path / "split.csv").read_bytes()).hexdigest()}
    written = pd.read_csv(tmp_path / "split.csv")
    assert written["split"].value_counts().to_dict() == {"train": 48, "test": 16, "val": 16}
    assert (written[written["split"] == "test"]["fold"] == 3).all()
    assert metrics["images"]["test"] == 16
    write_records(accepted.assign(width=0), tmp_path / "accepted.parquet")
    with pytest.raises(DataError, match=r"80 values break the contract") as refused:
        split_stage.work(chosen, labels, paths, log)
    assert "i0000: width is '0', expected at least 1" in refused.value.words


@pytest.fixture
def kept(small_dataset: SmallDataset) -> SplitSettings:
    """Settings that keep the split of the small data set; two lesions of each class come afterwards, one is gone."""
    small_dataset.validate()
    small_dataset.split()
    table = kept_table(read_records(small_dataset.paths.accepted), read_split(small_dataset.paths.split))
    file = Path("kept.csv")
    write_kept(table, file)
    for n in range(2):
        small_dataset.image(f"a{n}", "mel", seed=50 + n)
        small_dataset.image(f"b{n}", "nv", seed=60 + n)
    small_dataset.rows.pop(0)
    small_dataset.validate()
    return SPLIT.model_copy(update={"keep": KeptSplit(file=file, sha256=file_sha256(file))})


@pytest.mark.usefixtures("in_folder")
def test_the_stage_keeps_a_split_and_says_what_is_new_and_gone(
    small_dataset: SmallDataset, kept: SplitSettings
) -> None:
    before = read_split(small_dataset.paths.split).set_index("image_id")["split"]
    counts: Any = small_dataset.split(kept)
    after = read_split(small_dataset.paths.split).set_index("image_id")["split"]
    stayed = before.drop("mel0")
    assert (after[stayed.index] == stayed).all()
    found = counts["kept_split"]
    assert found["kept"] == stayed.value_counts().to_dict()
    assert found["missing"] == {"train": 0, "val": 0, "test": 0} | {before["mel0"]: 1}
    assert sum(found["new"].values()) == 4 and sum(found["moved"].values()) == 0
    (line,) = (line for line in small_dataset.log.lines if "kept split" in line)
    assert re.search(r"19 \(train \d+, .*\) lesions or patients stayed, 4 \(.*\) are new, 1 \(.*\) are gone", line)


@pytest.mark.usefixtures("in_folder")
def test_another_or_no_file_of_a_kept_split_is_refused(small_dataset: SmallDataset, kept: SplitSettings) -> None:
    assert kept.keep is not None
    text = kept.keep.file.read_text()
    kept.keep.file.write_text(text + "\n")
    with pytest.raises(DataError, match=r"kept.csv: sha256 is \w+, expected \w+ \(split.keep.sha256, params.yaml\)"):
        small_dataset.split(kept)
    kept.keep.file.unlink()
    with pytest.raises(DataError, match=r"kept.csv \(split.keep, params.yaml\) is missing: `dvc pull kept.csv.dvc`"):
        small_dataset.split(kept)


@pytest.mark.usefixtures("in_folder")
def test_a_kept_split_of_another_data_set_is_refused(small_dataset: SmallDataset, kept: SplitSettings) -> None:
    assert kept.keep is not None
    table = read_kept(kept.keep)
    names = "x" + table["image_id"]
    write_kept(table.assign(image_id=names, lesion_id=names, sha256=names), kept.keep.file)
    other = kept.model_copy(update={"keep": KeptSplit(file=kept.keep.file, sha256=file_sha256(kept.keep.file))})
    with pytest.raises(DataError, match=r"none of its 20 images, lesions and patients is in this data set"):
        small_dataset.split(other)


def test_a_kept_split_and_folds_exclude_each_other() -> None:
    plain = {"group_by": ["lesion_id"], "train": 0.6, "val": 0.2, "test": 0.2, "seed": 0, "folds": 5}
    with pytest.raises(ValueError, match=r"split.keep names data/kept_split.csv, but split.folds is 5"):
        SplitSettings.model_validate(plain | {"keep": {"file": "data/kept_split.csv", "sha256": "0" * 64}})


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
