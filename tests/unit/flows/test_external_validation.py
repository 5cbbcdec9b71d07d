"""The stage external_validation on a small study, and the settings of its cohorts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.base.errors import DataError, SettingsError
from components.base.files import write_text
from components.base.log import SilentLog
from components.data.ids import NO_IDS
from components.data.labels import Labels
from components.data.records import write_records
from components.external_validation.results import EXTERNAL
from flows.settings import load_settings, parse_settings, read_yaml
from flows.settings.data import Cohort
from tests.unit.flows.small_study import CLASSES as THREE
from tests.unit.flows.small_study import SIDE, build, write_split


def test_a_cohorts_diagnoses_are_mapped_as_its_settings_define(repo: Path) -> None:
    labels = Labels(scheme="two", schemes={"two": {"mel": ("mel",), "nv": ("nv", "naevus")}})
    dataset = {"kind": "ham10000", "path": "somewhere"}
    cohort = Cohort.model_validate({"name": "pad", "dataset": dataset, "diagnoses": {"NEV": "naevus", "mel": None}})
    assert cohort.mapping(labels) == {"nv": "nv", "naevus": "nv", "NEV": "nv"}
    assert cohort.excluded == ("mel",)
    data = read_yaml(repo / "params.yaml")
    data["external"] = [{"name": "pad", "dataset": dataset, "diagnoses": {"NEV": "mole"}}]
    with pytest.raises(SettingsError, match=r"external pad: diagnoses maps \{'NEV': 'mole'\}, expected some of"):
        parse_settings(data, "params.yaml")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An evaluated study with untrained classifiers, and a cohort that consists of its test images."""
    from components.models.classifier import Classifier, Head
    from components.models.classifier_file import save_classifier
    from flows.evaluate import evaluate

    monkeypatch.chdir(build(tmp_path, count=3))
    settings = load_settings()
    for split in ("val", "test"):
        write_split(settings.paths.pixels / split, 24)
    for seed, arm in enumerate(("vae", "random")):
        encoder = _seeded_encoder(settings.backbone, seed)
        classifier = Classifier(encoder, Head(encoder.feature_sizes, 8, 0.2, len(THREE)))
        header = {"classes": THREE, "features": "last_map", "head": {"hidden": 8, "dropout": 0.2}}
        name = settings.paths.classifiers / f"{arm}-frozen-0.safetensors"
        save_classifier(name, classifier.state_dict(), settings.backbone, header)
    train = pd.DataFrame({"image_id": [f"t{n}" for n in range(6)], "label": [*THREE, *THREE][:6], "split": "train"})
    train.to_csv(settings.paths.split, index=False)
    given = _given(settings)
    evaluate.work(**{name: given[name] for name in evaluate.arguments})
    _admit(settings.paths.pixels / "test", settings.paths.external)
    return tmp_path


def _seeded_encoder(backbone: object, seed: int) -> object:
    import torch

    torch.manual_seed(seed)
    return backbone.build()


def _given(settings: object) -> dict[str, object]:
    study = settings.study.model_copy(update={"protocols": ("frozen",), "seeds": (0,), "reference": "random"})
    cohort = Cohort.model_validate({"name": "again", "dataset": {"kind": "ham10000", "path": "theirs"}})
    sections = {name: getattr(settings, name) for name in type(settings).model_fields if name != "validate_"}
    small = {"pack": settings.pack.model_copy(update={"image_size": SIDE})}
    quick = {"compare": settings.compare.model_copy(update={"resamples": 60})}
    clinical = {"clinical": settings.clinical.model_copy(update={"malignant": ("malignant",), "severity": None})}
    return sections | small | quick | clinical | {"study": study, "external": (cohort,), "log": SilentLog()}


def _admit(test: Path, external: Path) -> None:
    """What admit leaves, for the packed images as files; one more row is unlabelled."""
    index, images = pd.read_csv(test / "index.csv", dtype="str"), np.load(test / "images.npy")
    Path("theirs").mkdir()
    rows = []
    for place, (row, image) in enumerate(zip(index.itertuples(), images, strict=True)):
        Image.fromarray(image).save(f"theirs/{place}.png")
        label = None if place == 0 else row.label
        rows.append({"image_id": f"x{row.image_id}", "path": f"{place}.png", "diagnosis": label, "label": label})
    table = pd.DataFrame(rows).assign(
        lesion_id=lambda t: t["image_id"], patient_id=None, sha256=lambda t: t["image_id"]
    )
    write_records(table.assign(twins=None), external / "again.parquet")
    reasons = pd.DataFrame({"image_id": ["a", "b"], "rule": ["diagnosis.outside_map", "image.grey"], "value": "SCC"})
    reasons.to_csv(external / "again.quarantine.csv", index=False)
    known = {"ingest_external/again": {"patient_id": 0, "lesion_id": 0}, "ingest": {"patient_id": 0, "lesion_id": 24}}
    for name, ids in known.items():
        write_text(Path(f"metrics/{name}.json"), json.dumps({"read": {"images": 24, "known_ids": ids}}))


def test_the_stage_predicts_as_evaluate_does_and_logs_what_it_left_out(place: Path) -> None:
    from flows.external_validation import external_validation

    given = _given(load_settings())
    metrics = external_validation.work(
        **{name: given[name] for name in external_validation.arguments if name != "cohort"}, cohort="again"
    )
    for arm in ("vae", "random"):
        internal = pd.read_parquet(f"data/predictions/{arm}-frozen-0.parquet").query("split == 'test'")
        external = pd.read_parquet(f"data/external_predictions/again/{arm}-frozen-0.parquet")
        assert list(external) == list(internal)
        assert set(external["split"]) == {EXTERNAL}
        assert len(external) == 23  # the one without a label is left out
        columns = [f"p_{name}" for name in THREE]
        expected = internal.assign(image_id="x" + internal["image_id"]).set_index("image_id")[columns]
        found = external.set_index("image_id")[columns]
        np.testing.assert_allclose(found, expected.loc[found.index], atol=1e-6)
    record = json.loads(Path("reports/external/again.json").read_text())
    assert (record["labels"]["outside"], record["labels"]["unlabelled"]) == ({"SCC": 1}, 1)
    assert metrics["images"] == 23 and metrics["classes"] == 3
    assert "again: 1 images of 'SCC' are in no class and are left out" in given["log"].lines
    page = Path("reports/external/again.html").read_text()
    assert f"again: {NO_IDS}." in page
    assert "internal test: no ids" not in page
    assert record["plan"]["missing_ids"] == {"internal": [], "external": [NO_IDS]}
    assert sorted(path.name for path in Path("data/external").iterdir()) == ["again.parquet", "again.quarantine.csv"]


def test_diagnoses_of_private_data_are_shown_only_where_params_yaml_has_them(place: Path) -> None:
    from flows.external_validation import OTHER_WORDS, external_validation

    given = _given(load_settings())
    (cohort,) = given["external"]
    given["external"] = (cohort.model_copy(update={"diagnoses": {"SCC": None}}),)
    given["privacy"] = given["privacy"].model_copy(update={"key": "secret"})
    words = ["SCC", "SCC", "mole of Anna Muster", "Muster, Ben: naevus", "Muster, Ben: naevus"]
    reasons = pd.DataFrame({"image_id": list("abcde"), "rule": "diagnosis.outside_map", "value": words})
    reasons.to_csv("data/external/again.quarantine.csv", index=False)
    metrics = external_validation.work(
        **{name: given[name] for name in external_validation.arguments if name != "cohort"}, cohort="again"
    )
    record, page = (Path(f"reports/external/again.{kind}").read_text() for kind in ("json", "html"))
    assert json.loads(record)["labels"]["outside"] == {"SCC": 2, OTHER_WORDS: 3}
    assert OTHER_WORDS in page
    log = given["log"]
    for text in (record, page, json.dumps(metrics), *log.lines):
        assert "Muster" not in text


def test_the_stage_names_a_run_without_predictions(place: Path) -> None:
    from flows.external_validation import external_validation

    given = _given(load_settings())
    Path("data/predictions/vae-frozen-0.parquet").unlink()
    with pytest.raises(DataError, match=r"vae-frozen-0.parquet is missing, expected for every run of study"):
        external_validation.work(
            **{name: given[name] for name in external_validation.arguments if name != "cohort"}, cohort="again"
        )
    with pytest.raises(
        SettingsError, match=r"external \(params.yaml\).* no cohort 'other', expected one of \['again'\]"
    ):
        external_validation.work(
            **{name: given[name] for name in external_validation.arguments if name != "cohort"}, cohort="other"
        )
