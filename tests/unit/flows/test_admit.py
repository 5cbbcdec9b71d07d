"""External test sets: admitted unless they hold an image that is learned from or cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError, LeakError
from components.data.adapters.folder import Config as Own
from components.data.records import apply_labels, read_records, write_records
from components.validation.settings import Scan
from flows.admit import admit
from flows.settings.data import Cohort, Privacy
from flows.stage_io.datasets import read_dataset
from flows.stage_io.pseudonym_key import read_key
from tests.unit.flows.small_dataset import LABELS, Folder, SmallDataset, draw_picture, limits


def admit_as(
    small_dataset: SmallDataset, name: str, folder: Path, at_most: float = 0.5, **diagnoses: str | None
) -> dict[str, object]:
    """Admit the folder's images, a class a subfolder, as an external cohort."""
    cohort = Cohort(name=name, dataset=Own(path=folder), diagnoses=diagnoses)
    table, _ = read_dataset(cohort.dataset, LABELS, Privacy(key="public"), read_key(Privacy(key="public")))
    records = apply_labels(table, cohort.mapping(LABELS))  # as ingest_external, which asks for more images than these
    write_records(records, small_dataset.paths.external / f"{name}.records.parquet")
    return dict(
        admit.work(
            cohort=name, external=[cohort], dataset=Folder(path=small_dataset.root), labels=LABELS,
            privacy=Privacy(key="public"), validate=limits(max_quarantined_share=at_most),
            scan=Scan(workers=1, cluster=None), paths=small_dataset.paths, log=small_dataset.log,
        )
    )  # fmt: skip


def test_an_external_set_is_admitted_unless_it_holds_what_is_learned_from(
    small_dataset: SmallDataset, tmp_path: Path
) -> None:
    small_dataset.validate()
    small_dataset.split()
    split = pd.read_csv(small_dataset.paths.split, index_col="image_id")["split"]
    theirs = tmp_path / "theirs"
    (theirs / "mel").mkdir(parents=True)
    draw_picture(99).save(theirs / "mel" / "new.png")
    assert admit_as(small_dataset, "clinic", theirs)["accepted"] == 1
    assert "1 images are compared with the 20 of the study" in small_dataset.log.lines
    assert read_records(small_dataset.paths.external / "clinic.parquet")["image_id"].tolist() == ["mel/new.png"]

    tested, learned = (split.index[split == side][0] for side in ("test", "train"))
    shutil.copy(small_dataset.root / f"{tested}.png", theirs / "mel" / "tested.png")
    with pytest.raises(
        LeakError, match=rf"image mel/tested.png .* image {tested}, .* test: a difference between the two"
    ):
        admit_as(small_dataset, "clinic", theirs)
    (theirs / "mel" / "tested.png").unlink()
    shutil.copy(small_dataset.root / f"{learned}.png", theirs / "mel" / "learned.png")
    with pytest.raises(
        LeakError, match=rf"external test set clinic: image mel/learned.png .* image {learned}, .* train"
    ):
        admit_as(small_dataset, "clinic", theirs)


def test_an_external_sets_own_words_are_mapped_as_configured_and_others_count_as_unusable(
    small_dataset: SmallDataset, tmp_path: Path
) -> None:
    small_dataset.validate()
    small_dataset.split()
    theirs = tmp_path / "theirs"
    for place, word in enumerate(("NEV", "SCC", "mel", "mel", "mel")):
        (theirs / word).mkdir(parents=True, exist_ok=True)
        draw_picture(200 + place).save(theirs / word / f"{place}.png")
    message = r"2 of 5 rows cannot be used.*\nby rule: diagnosis.outside_map 2\n"
    with pytest.raises(DataError, match=message) as caught:
        admit_as(small_dataset, "clinic", theirs, 0.0)
    assert caught.value.words.startswith("first: NEV/0.png diagnosis.outside_map = NEV")
    with pytest.raises(DataError, match=r"1 of 5 rows cannot be used"):
        admit_as(small_dataset, "clinic", theirs, 0.0, NEV="naevus")
    assert admit_as(small_dataset, "clinic", theirs, 0.0, NEV="naevus", SCC=None)["accepted"] == 4
    accepted = read_records(small_dataset.paths.external / "clinic.parquet")
    assert dict(zip(accepted["diagnosis"], accepted["label"], strict=True)) == {"NEV": "nv", "mel": "mel"}
    reasons = pd.read_csv(small_dataset.paths.external / "clinic.quarantine.csv")
    assert reasons[["image_id", "rule", "value"]].values.tolist() == [["SCC/1.png", "diagnosis.outside_map", "SCC"]]
    assert "external.diagnoses (params.yaml)" in reasons["fix"].iloc[0]
