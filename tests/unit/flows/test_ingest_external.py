"""The stage ingest_external: mistakes in an external test set are reported with what to enter in params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from components.base.errors import DataError
from components.base.log import SilentLog
from components.data.adapters.isic import Config as Isic
from components.data.ids import NO_IDS
from components.data.labels import Labels
from components.data.records import read_records
from flows.ingest_external import ingest_external
from flows.settings.data import Cohort, Privacy
from tests.unit.flows.small_dataset import limits, place

SEVEN = Labels(scheme="seven", schemes={"seven": {name: (name,) for name in ("akiec", "bcc", "bkl", "mel", "nv")}})
WORDS = ["nevus"] * 12 + ["melanoma"] * 6 + ["scar"] * 2


def archive(folder: Path, words: list[str]) -> Path:
    """A table of the ISIC Archive with an image a row."""
    (folder / "images").mkdir(parents=True)
    for n in range(len(words)):
        Image.new("RGB", (8, 8), (n, n, n)).save(folder / "images" / f"ISIC_{n}.jpg")
    rows = [f"ISIC_{n},{word},IL_{n},IP_{n}" for n, word in enumerate(words)]
    (folder / "metadata.csv").write_text("\n".join(["isic_id,diagnosis,lesion_id,patient_id", *rows]) + "\n")
    return folder


def ingest_as(
    root: Path, folder: Path, at_most: float = 0.02, key: str = "public", **diagnoses: str | None
) -> tuple[dict[str, Any], SilentLog]:
    cohort, log = Cohort(name="pad", dataset=Isic(path=folder), diagnoses=diagnoses), SilentLog()
    study = archive(root / "study", ["nv"]) if not (root / "study").exists() else root / "study"
    metrics = ingest_external.work(
        cohort="pad", external=[cohort], dataset=Isic(path=study), labels=SEVEN, privacy=Privacy(key=key),
        validate=limits(max_quarantined_share=at_most), paths=place(root / "made"), log=log,
    )  # fmt: skip
    return dict(metrics), log


def test_an_isic_set_without_diagnoses_gives_the_line_to_paste_and_then_passes(tmp_path: Path) -> None:
    folder = archive(tmp_path / "isic", WORDS)
    message = (
        r"pad: 20 of 20 images have a diagnosis that is in no class \(100.0%\), expected at most 2.0% "
        r"\(validate.max_quarantined_share, params.yaml\). Each needs a diagnosis of labels.schemes.seven, or null, "
        r"which leaves its images out: check the line below and paste it into `- name: pad` under external"
    )
    with pytest.raises(DataError, match=message) as caught:
        ingest_as(tmp_path, folder)
    line = caught.value.words.strip().split("\n")[0]
    assert line == "diagnoses: {nevus: nv, melanoma: mel, scar: null}"
    assert "'scar': 2 images -> null (no guess; null leaves these images out)" in caught.value.words
    assert "nevus" not in str(caught.value)
    pasted = YAML(typ="safe").load(line)["diagnoses"]
    metrics, _ = ingest_as(tmp_path, folder, **pasted)
    assert {name: metrics[name] for name in ("images", "labelled", "excluded", "outside")} == {
        "images": 20, "labelled": 18, "excluded": 2, "outside": 0,
    }  # fmt: skip
    assert metrics["classes"] == {"akiec": 0, "bcc": 0, "bkl": 0, "mel": 6, "nv": 12}
    table = read_records(tmp_path / "made" / "external" / "pad.records.parquet")
    assert table["label"].value_counts().to_dict() == {"nv": 12, "mel": 6}


def test_a_present_map_is_kept_in_the_line(tmp_path: Path) -> None:
    folder = archive(tmp_path / "isic", WORDS)
    with pytest.raises(DataError, match="8 of 20 images") as caught:
        ingest_as(tmp_path, folder, nevus="nv")
    assert "\ndiagnoses: {nevus: nv, melanoma: mel, scar: null}\n" in caught.value.words


def test_few_diagnoses_outside_are_left_out_and_counted(tmp_path: Path) -> None:
    metrics, log = ingest_as(tmp_path, archive(tmp_path / "isic", WORDS), 0.1, nevus="nv", melanoma="mel")
    assert metrics["outside"] == 2
    assert "2 images are left out, since external.diagnoses maps none of 1 words: 'scar'" in log.lines


def test_a_missing_folder_and_a_wrong_table_name_the_cohort(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"external test set pad \(its dataset under external, params.yaml\): .*no such"
    ):
        ingest_as(tmp_path, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"external test set pad .*no table with the columns of an ISIC table"):
        ingest_as(tmp_path, tmp_path / "empty")


def test_a_set_without_diagnoses_or_with_one_class_is_refused_before_images_are_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pad: none of 4 images has a diagnosis"):
        ingest_as(tmp_path, archive(tmp_path / "none", [""] * 4))
    with pytest.raises(
        DataError, match=r"classes have lesions \{'mel': 2, 'nv': 12\}, expected at least 2 classes of 5"
    ):
        ingest_as(tmp_path, archive(tmp_path / "one", ["nv"] * 12 + ["mel"] * 2))
    with pytest.raises(DataError, match=r"pad: all diagnoses are excluded"):
        ingest_as(tmp_path, archive(tmp_path / "all", ["scar"] * 4), scar=None)


def test_ids_that_are_not_known_are_said(tmp_path: Path) -> None:
    folder = archive(tmp_path / "isic", ["nv"] * 6 + ["mel"] * 6)
    table = pd.read_csv(folder / "metadata.csv")[["isic_id", "diagnosis"]]
    table.to_csv(folder / "metadata.csv", index=False)
    metrics, log = ingest_as(tmp_path, folder)
    assert metrics["read"]["warnings"]["no_ids"] == 12
    assert any(line.startswith("warning: ") and NO_IDS in line for line in log.lines)


def test_the_words_of_private_data_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("k" * 40)
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(tmp_path / "key"))
    words = [f"{name} Muster" for name in ("Anna", "Ben", "Cleo", "Dora")] * 5
    with pytest.raises(DataError) as caught:
        ingest_as(tmp_path, archive(tmp_path / "isic", words), key="secret")
    assert "Muster" not in str(caught.value) and "Anna Muster" in caught.value.words
