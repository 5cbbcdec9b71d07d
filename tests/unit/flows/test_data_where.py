"""`dermflow data where`: the owner of private data finds each image by pseudonym, own id or path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML
from typer.testing import CliRunner

from components.base.errors import DataError, SettingsError
from components.base.log import SilentLog
from components.validation.settings import Scan
from flows.commands.cli import app
from flows.commands.data_where import where
from flows.ingest import ingest
from flows.settings import load_settings
from flows.stage import write_metrics
from flows.validate import validate

TABLE = """\
file,id,case,who,dx
a 1.png,A1,7,Muster,nv
b.png,A2,7,Muster,nv
broken.png,A3,8,Muster,mel
none.png,A4,,,wart
"""


@pytest.fixture
def clinic(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Private data of two patients with one broken file, and an external folder; ingested and validated."""
    place = tmp_path / "checkout"
    rng = np.random.default_rng(0)
    for name in ("clinic/a 1.png", "clinic/b.png", "clinic/none.png", "theirs/nv/x.png"):
        file = place / "data" / "raw" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file)
    (place / "data/raw/clinic/broken.png").write_bytes(b"")
    (place / "data/raw/clinic/list.csv").write_text(TABLE)
    values = YAML(typ="safe").load((repo / "params.yaml").read_text())
    columns = {"image_id": "id", "path": "file", "lesion_id": "case", "patient_id": "who", "diagnosis": "dx"}
    values["dataset"] = {"kind": "table", "path": "data/raw/clinic", "file": "list.csv", "columns": columns}
    values["external"] = [{"name": "pad", "dataset": {"kind": "folder", "path": "data/raw/theirs"}}]
    values["privacy"] = {"key": "secret"}
    with (place / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(values, file)
    (tmp_path / "key").write_text("k" * 40)
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.chdir(place)
    settings = load_settings()
    common = {"dataset": settings.dataset, "labels": settings.labels, "privacy": settings.privacy,
              "paths": settings.paths, "log": SilentLog()}  # fmt: skip
    write_metrics(settings.paths.metrics / "ingest", "", ingest.work(**common))
    with suppress(DataError):  # four rows are too few to be accepted; the quarantine is written
        validate.work(**common, split=settings.split, validate=settings.validate_, scan=Scan(workers=1, cluster=None))
    return place


def records() -> Iterator[pd.Series]:
    return (row for _, row in pd.read_parquet("data/records.parquet").iterrows())


def test_the_file_behind_a_quarantined_pseudonym_is_found(clinic: Path) -> None:
    quarantine = pd.read_csv("data/quarantine.csv")
    (broken,) = quarantine[quarantine["rule"] == "image.empty"].itertuples()
    assert broken.path == "broken.png" and broken.image_id.startswith("image-")
    text = "\n".join(where([broken.image_id]))
    lesion, patient = (next(row[name] for row in records() if row["path"] == "broken.png")
                       for name in ("lesion_id", "patient_id"))  # fmt: skip
    for expected in (
        f"{broken.image_id}: image of the study's data set (data/raw/clinic), 1 image\n",
        f"image 'A3', everywhere else {broken.image_id}\n",
        "path        data/raw/clinic/broken.png\n",
        "row         3 of 4 of list.csv\n",
        f"lesion      '8', everywhere else {lesion}\n",
        f"patient     'Muster', everywhere else {patient}\n",
        "diagnosis   'mel', label mel\n",
        "not known: data/split.csv does not exist yet",
        "quarantine  image.empty: ",
    ):
        assert expected in text


@pytest.mark.parametrize("name", ["A2", "b.png", "data/raw/clinic/b.png", "./data//raw/clinic/b.png", "ABSOLUTE/b.png"])
def test_an_image_has_several_names(clinic: Path, name: str) -> None:
    name = name.replace("ABSOLUTE", str(clinic / "data/raw/clinic"))
    assert "row         2 of 4 of list.csv" in "\n".join(where([name]))


def test_a_lesion_or_a_patient_gives_all_its_images(clinic: Path) -> None:
    row = next(row for row in records() if row["path"] == "b.png")
    for name, kind, count in (
        (row["lesion_id"], "lesion", 2), ("7", "lesion", 2), (row["patient_id"], "patient", 3),
        ("Muster", "patient", 3),        (row["patient_id"][:14] + "…", "patient", 3),
    ):  # fmt: skip
        lines = where([name])
        assert lines[0] == f"{name}: {kind} of the study's data set (data/raw/clinic), {count} images"
        assert sum(line.startswith("    path ") for line in lines) == count


def test_a_row_outside_the_classes_and_without_ids_says_so(clinic: Path) -> None:
    text = "\n".join(where(["none.png"]))
    assert "diagnosis   'wart', no label" in text and "patient     not stated" in text
    assert "lesion      none stated; the image counts as lesion-" in text
    assert "quarantine  diagnosis.outside_map: wart; expected a diagnosis of one of the classes" in text


def test_external_sets_are_searched_too(clinic: Path) -> None:
    text = "\n".join(where(["nv/x.png"]))
    assert "nv/x.png: image of the external test set pad (data/raw/theirs), 1 image\n" in text
    assert "row         1 of 1, in the order of the paths\n" in text
    assert "used as     not known: data/external/pad.parquet does not exist yet (dvc repro admit)" in text


def test_an_unknown_name_is_reported_with_what_was_searched_and_what_is_similar(clinic: Path) -> None:
    with pytest.raises(DataError) as caught:
        where(["A2", "007", "image-0123456789abcdef"])
    text = str(caught.value)
    assert text.startswith("A2: image of the study's data set")
    assert (
        "007: no image, lesion or patient has this pseudonym or id, and no image this path; searched: the study's "
        in text
    )
    assert "study's data set (data/raw/clinic, 4 images); the external test set pad (data/raw/theirs, 1 images)" in text
    assert "similar: '7'" in text and "image-0123456789abcdef: no image" in text
    assert "another key" not in text


def test_another_key_and_a_set_that_cannot_be_read_are_said(clinic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row, *_) = records()
    (clinic.parent / "key").write_text("x" * 40)
    for file in (clinic / "data/raw/theirs/nv/x.png", clinic / "data/raw/theirs/nv", clinic / "data/raw/theirs"):
        file.unlink() if file.is_file() else file.rmdir()
    with pytest.raises(DataError, match=r"were made with another key \(") as caught:
        where([row["image_id"]])
    assert "not searched: the external test set pad, which cannot be read: data/raw/theirs: no such folder" in str(
        caught.value
    )
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(clinic.parent / "lost"))
    with pytest.raises(SettingsError, match=r"lost cannot be read"):
        where([row["image_id"]])


def test_the_command_prints_the_answer_and_writes_nothing(clinic: Path) -> None:
    def files() -> list[tuple[str, bytes]]:
        return sorted((str(path), path.read_bytes()) for path in clinic.rglob("*") if path.is_file())

    before = files()
    done = CliRunner().invoke(app, ["data", "where", "b.png"])
    assert done.exit_code == 0 and "data/raw/clinic/b.png" in done.stdout
    assert CliRunner().invoke(app, ["data", "where", "c.png"]).exit_code == 1
    assert files() == before
