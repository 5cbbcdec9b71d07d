"""The bundle: it holds what the study measured, the same study gives equal bytes, no changed byte is accepted."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from components.base.errors import CheckpointError, DataError
from components.base.log import SilentLog
from components.clinical.assessment import assess, clinical_task
from components.clinical.conformal import one_a_group
from components.clinical.record import as_record
from components.deployment.bundle import (
    CLASSIFIER,
    MANIFEST,
    OUTLIERS,
    TRAINED_ON,
    check_unchanged,
    load_classifier,
    load_outliers,
    open_bundle,
)
from components.deployment.manifest import Manifest
from components.models.weights_file import read_tensors
from flows.stage_io.priors import read_priors
from flows.stage_io.question import build_question
from flows.stage_io.runs import read_runs
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.deployment.bundled_study import RUN, arguments, make_bundle, rebuild
from tests.unit.training.small_trainings import CLASSES


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def test_the_numbers_are_those_that_the_clinical_assessment_reports(bundled_study: Path, bundle_folder: Path) -> None:
    given = arguments(SilentLog())
    with chdir(bundled_study):
        question = build_question(*(given[name] for name in ("study", "dataset", "labels", "compare")))
        priors = read_priors(given["paths"], given["labels"], given["finetune"])
        task = clinical_task(question, given["clinical"], given["labels"], priors, 15)
        runs = read_runs(given["study"], given["paths"])
        sheets = as_record(assess(runs, task, None, SilentLog()))["sheets"]
    sheet = next(each for each in sheets if (each["arm"], each["protocol"]) == ("vae", "frozen"))
    manifest = open_bundle(bundle_folder).manifest
    place = list(given["study"].seeds).index(manifest.seed)
    assert manifest.temperature == sheet["calibration"]["temperatures"][place]
    reported = sheet["operating"][0]["points"]
    assert [each.threshold for each in manifest.points] == [each["thresholds"][place] for each in reported]
    assert manifest.point == [(each["fixed"], each["level"]) for each in reported].index(("sensitivity", 0.9))
    assert manifest.malignant == (CLASSES[1],)
    val = (
        pd.read_parquet(bundled_study / FOLDERS["predictions"] / f"{RUN}.parquet")
        .query("split == 'val'")
        .sort_values("image_id")
    )
    p = val[[f"p_{name}" for name in CLASSES]].to_numpy()
    assert (p.max(1) >= manifest.abstention.threshold).mean() >= given["clinical"].answered
    assert manifest.abstention.threshold in p.max(1)
    chosen = one_a_group(val["group"].to_numpy(str), np.random.default_rng(given["compare"].seed))
    labels = val["label"].map(list(CLASSES).index).to_numpy()[chosen]
    scores = np.sort(1 - priors.restore(p)[chosen, labels])
    place = int(np.ceil((len(scores) + 1) * 0.9)) - 1
    expected = scores[place] if place < len(scores) else None
    assert set(manifest.conformal.limits.values()) == {expected}
    assert manifest.conformal.lesions == len(scores) == 9


def test_val_reaches_the_level_that_a_threshold_was_chosen_for(bundle_folder: Path) -> None:
    points = open_bundle(bundle_folder).manifest.points
    assert len(points) >= 2
    assert all(each.val[each.fixed] >= each.level for each in points)


def test_the_classifier_is_the_runs_own_file(bundled_study: Path, bundle_folder: Path) -> None:
    original = bundled_study / FOLDERS["classifiers"] / f"{RUN}.safetensors"
    assert (bundle_folder / CLASSIFIER).read_bytes() == original.read_bytes()
    loaded = load_classifier(open_bundle(bundle_folder)).state_dict()
    assert loaded.keys() == read_tensors(original).keys()


def test_the_same_study_gives_the_same_bytes(bundled_study: Path, bundle_folder: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path)
    files = sorted(path.name for path in bundle_folder.iterdir())
    assert files == [
        "SHA256SUMS",
        "bundle.json",
        "classifier.safetensors",
        "model_card.md",
        "outliers.safetensors",
        "trained_on.json",
    ]
    for name in files:
        assert (tmp_path / FOLDERS["bundle"] / name).read_bytes() == (bundle_folder / name).read_bytes(), name


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
def test_one_changed_bit_is_found(bundle_folder: Path, tmp_path: Path, name: str) -> None:
    changed = copy(bundle_folder, tmp_path)
    data = bytearray((changed / name).read_bytes())
    data[len(data) // 2] ^= 1
    (changed / name).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=rf"{name}: its sha256 is .*, expected .* the file was changed"):
        open_bundle(changed)


def test_a_missing_file_is_named(bundle_folder: Path, tmp_path: Path) -> None:
    changed = copy(bundle_folder, tmp_path)
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
    bundle_folder: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    changed = copy(bundle_folder, tmp_path)
    content = json.loads((changed / MANIFEST).read_text()) | change
    (changed / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        open_bundle(changed)


def test_a_changed_threshold_is_found_and_so_is_a_surplus_file(bundle_folder: Path, tmp_path: Path) -> None:
    changed = copy(bundle_folder, tmp_path)
    text = (changed / MANIFEST).read_text()
    (changed / MANIFEST).write_text(text.replace('"temperature": ', '"temperature": 1'))
    with pytest.raises(CheckpointError, match=r"bundle.json: its sha256 .* is not that of SHA256SUMS"):
        open_bundle(changed)
    (changed / MANIFEST).write_text(text)
    (changed / "extra.txt").touch()
    with pytest.raises(CheckpointError, match=r"holds \['extra.txt'\], which bundle.json does not list"):
        open_bundle(changed)


@pytest.mark.parametrize(
    "change",
    [{"point": 9}, {"temperature": 0}, {"malignant": ["other"]}, {"classes": ["benign"]}, {"image_size": 0}],
)
def test_impossible_numbers_are_refused(bundle_folder: Path, change: dict[str, object]) -> None:
    content = json.loads((bundle_folder / MANIFEST).read_text()) | change
    with pytest.raises(ValidationError):
        Manifest(**content)


def test_a_bundle_that_was_replaced_while_it_was_loaded_is_noticed(bundle_folder: Path, tmp_path: Path) -> None:
    copied = copy(bundle_folder, tmp_path)
    found = open_bundle(copied)
    check_unchanged(found)
    make_bundle(tmp_path / "other", run="random-frozen-0")
    shutil.rmtree(copied)
    shutil.copytree(tmp_path / "other" / FOLDERS["bundle"], copied)
    with pytest.raises(CheckpointError, match="was replaced while it was loaded; repeat the command"):
        check_unchanged(found)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": NaN}', "null"])
def test_what_is_no_manifest_is_refused(bundle_folder: Path, tmp_path: Path, text: str) -> None:
    changed = copy(bundle_folder, tmp_path)
    (changed / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match=r"bundle.json: (is no JSON object|is of version)"):
        open_bundle(changed)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no bundle, bundle.json cannot be read"):
        open_bundle(tmp_path)


def test_the_outlier_reference_knows_the_val_images(bundled_study: Path, bundle_folder: Path) -> None:
    reference = load_outliers(open_bundle(bundle_folder))
    assert (
        len(reference.val_distances)
        == pd.read_csv(bundled_study / FOLDERS["split"]).query("split == 'val'")["group"].nunique()
    )
    assert np.all(np.diff(reference.val_distances) >= 0)
