"""The stage split: its table, its metrics, its settings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from components.base.errors import DataError
from components.base.log import SilentLog
from components.data.labels import Labels
from components.data.read_report import ReadReport
from components.data.records import conform, write_records
from flows.settings.data import Split as SplitSettings
from flows.split import split as split_stage
from tests.unit.data.accepted_rows import CLASSES, rows_of_lesions


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


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
