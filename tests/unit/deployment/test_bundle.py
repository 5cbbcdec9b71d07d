"""The bundle: it holds what the study measured, the same study gives equal bytes, no changed byte is accepted."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.base.errors import CheckpointError, DataError
from components.base.log import SilentLog
from components.clinical.assessment import assess, clinical_task
from components.clinical.record import as_record
from components.deployment.bundle import (
    CLASSIFIER,
    MANIFEST,
    OUTLIERS,
    TRAINED_ON,
    load_classifier,
    load_outliers,
    open_bundle,
)
from components.models.weights_file import read_tensors
from flows.stage_io.priors import read_priors
from flows.stage_io.question import build_question
from flows.stage_io.runs import read_runs
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.deployment.bundled_study import RUN, arguments, make_bundle, rebuild
from tests.unit.training.small_trainings import CLASSES


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def test_the_numbers_are_those_that_the_clinical_assessment_reports(study: Path, folder: Path) -> None:
    given = arguments(SilentLog())
    with chdir(study):
        question = build_question(*(given[name] for name in ("study", "dataset", "labels", "compare")))
        priors = read_priors(given["paths"], given["labels"], given["finetune"])
        task = clinical_task(question, given["clinical"], given["labels"], priors, 15)
        runs = read_runs(given["study"], given["paths"])
        sheets = as_record(assess(runs, task, None, SilentLog()))["sheets"]
    sheet = next(each for each in sheets if (each["arm"], each["protocol"]) == ("vae", "frozen"))
    manifest = open_bundle(folder).manifest
    place = list(given["study"].seeds).index(manifest.seed)
    assert manifest.temperature == sheet["calibration"]["temperatures"][place]
    reported = sheet["operating"][0]["points"]
    assert [each.threshold for each in manifest.points] == [each["thresholds"][place] for each in reported]
    assert manifest.point == [(each["fixed"], each["level"]) for each in reported].index(("sensitivity", 0.9))
    assert manifest.malignant == (CLASSES[1],)


def test_val_reaches_the_level_that_a_threshold_was_chosen_for(folder: Path) -> None:
    points = open_bundle(folder).manifest.points
    assert len(points) >= 2
    assert all(each.val[each.fixed] >= each.level for each in points)


def test_the_classifier_is_the_runs_own_file(study: Path, folder: Path) -> None:
    original = study / FOLDERS["classifiers"] / f"{RUN}.safetensors"
    assert (folder / CLASSIFIER).read_bytes() == original.read_bytes()
    loaded = load_classifier(open_bundle(folder)).state_dict()
    assert loaded.keys() == read_tensors(original).keys()


def test_the_same_study_gives_the_same_bytes(study: Path, folder: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path)
    files = sorted(path.name for path in folder.iterdir())
    assert files == [
        "bundle.json",
        "classifier.safetensors",
        "model_card.md",
        "outliers.safetensors",
        "trained_on.json",
    ]
    for name in files:
        assert (tmp_path / FOLDERS["bundle"] / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_run_that_the_settings_name_is_bundled_without_the_card_of_another(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    log = rebuild(tmp_path, run="random-frozen-0")
    found = open_bundle(tmp_path / FOLDERS["bundle"])
    assert (found.manifest.run, found.manifest.recommended) == ("random-frozen-0", False)
    assert "model_card.md" not in found.manifest.files
    assert any("random-frozen-0 is not recommended for use" in line for line in log.lines)
    with pytest.raises(DataError, match=r"bundle.run is 'other-frozen-0', expected a run of the study, one of \['vae"):
        rebuild(tmp_path, run="other-frozen-0")


@pytest.mark.parametrize("name", [CLASSIFIER, OUTLIERS, TRAINED_ON, "model_card.md"])
def test_one_changed_bit_is_found(folder: Path, tmp_path: Path, name: str) -> None:
    changed = copy(folder, tmp_path)
    data = bytearray((changed / name).read_bytes())
    data[len(data) // 2] ^= 1
    (changed / name).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=rf"{name}: its sha256 is .*, expected .* the file was changed"):
        open_bundle(changed)


def test_a_missing_file_is_named(folder: Path, tmp_path: Path) -> None:
    changed = copy(folder, tmp_path)
    (changed / OUTLIERS).unlink()
    with pytest.raises(CheckpointError, match=r"outliers.safetensors: is missing, but bundle.json lists it"):
        open_bundle(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"is of version 2, expected 1, which this Dermflow reads"),
        ({"surplus": 1}, r"is no manifest of a bundle \(\('surplus',\)"),
        ({"files": {}}, r"lists \[\], expected \['classifier.safetensors', 'outliers.safetensors'\]"),
        ({"files": {"../a": "0", CLASSIFIER: "0", OUTLIERS: "0"}}, r"lists \['../a', "),
    ],
)
def test_a_manifest_of_another_kind_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    changed = copy(folder, tmp_path)
    content = json.loads((changed / MANIFEST).read_text()) | change
    (changed / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        open_bundle(changed)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": NaN}', "null"])
def test_what_is_no_manifest_is_refused(folder: Path, tmp_path: Path, text: str) -> None:
    changed = copy(folder, tmp_path)
    (changed / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match=r"bundle.json: (is no JSON object|is of version)"):
        open_bundle(changed)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no bundle, bundle.json cannot be read"):
        open_bundle(tmp_path)


def test_the_outlier_reference_knows_the_val_images(study: Path, folder: Path) -> None:
    reference = load_outliers(open_bundle(folder))
    assert len(reference.val_distances) == len(pd.read_csv(study / FOLDERS["split"]).query("split == 'val'"))
    assert np.all(np.diff(reference.val_distances) >= 0)
