"""The stage: classifiers, predictions and packed images in, a page and a record out."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from components.base.errors import DataError
from components.base.log import SilentLog
from components.base.run_id import FinetuneProtocol, RunId
from components.data.adapters.synthetic import Config as Synthetic
from components.data.labels import Labels
from components.data.pixels import read_pixels, write_pixels
from components.explanations.analysis import choose_run
from components.explanations.settings import Explain
from components.models.classifier import Classifier, build_head, predict
from components.models.weights_file import save_classifier
from components.statistics.runs import Run
from components.training.examples import Examples
from components.training.settings import Compute
from flows.explain import explain
from flows.settings.study import Study
from tests.unit.comparison.simulated_study import FOLDERS, Truth, settings
from tests.unit.training.small_trainings import BACKBONE, CLASSES, SIDE

ARMS, SEEDS = ("vae", "random"), (0, 1)


def write_study(root: Path) -> None:
    """Two arms, two seeds: encoders frozen, so one an arm; images whose brightness is their class."""
    rng = np.random.default_rng(0)
    for split, number in {"train": 60, "val": 18, "test": 24}.items():
        places = np.arange(number) // 2 % len(CLASSES)
        images = rng.integers(0, 120, (number, SIDE, SIDE, 3)) + 60 * places[:, None, None, None]
        names = [f"{split}_{row:03d}" for row in range(number)]
        lesions = [f"{split}-{row // 2}" for row in range(number)]  # two images each
        columns = {"image_id": names, "label": [CLASSES[k] for k in places], "lesion_id": lesions, "group": lesions}
        write_pixels(root / FOLDERS["pixels"] / split, images.astype(np.uint8), pd.DataFrame(columns), SIDE)
    for place, arm in enumerate(ARMS):
        for seed in SEEDS:
            torch.manual_seed(place)
            encoder = BACKBONE.build()
            classifier = Classifier(encoder, build_head(encoder.feature_dim, 8, 0.0, 3, seed)).eval()
            write_run(root, f"{arm}-frozen-{seed}", classifier)


def write_run(root: Path, name: str, classifier: Classifier) -> None:
    provenance = {"classes": list(CLASSES), "head": {"hidden": 8, "dropout": 0.0}}
    save_classifier(
        root / FOLDERS["classifiers"] / f"{name}.safetensors", classifier.state_dict(), BACKBONE, provenance
    )
    tables = []
    for split in ("val", "test"):
        pixels = read_pixels(root / FOLDERS["pixels"] / split)
        p = predict(classifier, Examples(pixels, pixels.labels(CLASSES)).in_order())
        table = pixels.index[["image_id", "lesion_id", "group", "label"]].assign(split=split)
        tables.append(table.assign(**{f"p_{word}": p[:, k] for k, word in enumerate(CLASSES)}))
    (root / FOLDERS["predictions"]).mkdir(parents=True, exist_ok=True)
    pd.concat(tables).to_parquet(root / FOLDERS["predictions"] / f"{name}.parquet", index=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return folder


def given(log: SilentLog) -> dict[str, object]:
    common = settings(Truth(right={"vae": 0.5, "random": 0.5}, gap={"vae": 0.1, "random": 0.1}), reference="vae")
    taken = {name: common[name] for name in ("compare", "clinical", "paths")}
    return taken | {
        "study": Study(name="tiny", arms=ARMS, protocols=("frozen",), seeds=SEEDS, reference="vae"),
        "dataset": Synthetic.model_construct(kind="synthetic", path=Path("raw")),
        "labels": Labels(scheme="three", schemes={"three": {name: (name,) for name in CLASSES}}),
        "backbone": BACKBONE,
        "explain": Explain(images=2, errors=2, neighbours=3, steps=4, alike=0.5, lost=0.5, seed=0),
        "compute": Compute(device="cpu", threads=1, precision="auto", compile=False),
        "log": log,
    }


@pytest.fixture(scope="module")
def told(root: Path) -> tuple[dict, dict, str, SilentLog]:
    """Metrics, record, page and log of one run of the stage."""
    log = SilentLog()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        metrics = explain.work(**given(log))
    reports = root / FOLDERS["reports"]
    record = json.loads((reports / "explanations.json").read_text())
    return metrics, record, (reports / "explanations.html").read_text(), log


def test_every_arm_is_shown_by_its_best_run_on_val_with_the_same_images(told: tuple, root: Path) -> None:
    _, record, page, _ = told
    assert list(record["models"]) == ["vae-frozen", "random-frozen"]
    for arm in ARMS:
        tables = {
            seed: pd.read_parquet(root / FOLDERS["predictions"] / f"{arm}-frozen-{seed}.parquet") for seed in SEEDS
        }
        runs = [Run(RunId(arm, FinetuneProtocol.FROZEN, seed), table) for seed, table in tables.items()]
        assert record["models"][f"{arm}-frozen"]["run"] == choose_run(runs, CLASSES).name
    names = [case["image_id"] for case in record["cases"]]
    for model in record["models"].values():
        assert list(model["neighbours"]) == names
        assert list(model["likeness"]) == ["another seed", "head", "upper half", "everything"]
        assert model["neighbour_agreement"]["encoders"] == 1  # a frozen encoder is the same in every run
    assert all(name in page for name in names)


def test_the_errors_are_those_of_the_predictions(told: tuple, root: Path) -> None:
    for model in told[1]["models"].values():
        table = pd.read_parquet(root / FOLDERS["predictions"] / f"{model['run']}.parquet")
        test = table[table["split"] == "test"].set_index("image_id")
        answers = test[[f"p_{name}" for name in CLASSES]].idxmax(axis=1).str.removeprefix("p_")
        assert model["test_images_wrong"] == int((answers != test["label"]).sum())
        for error in model["errors"]:
            assert error["answer"] == answers[error["image_id"]] != test["label"][error["image_id"]]
            assert error["probability"] == pytest.approx(test.loc[error["image_id"], f"p_{error['answer']}"])


def test_neighbours_are_train_images_of_different_lesions_the_nearest_first(told: tuple) -> None:
    for model, case in product(told[1]["models"].values(), told[1]["cases"]):
        near = model["neighbours"][case["image_id"]]
        assert len(near) == 3
        assert all(each["image_id"].startswith("train_") for each in near)
        assert len({int(each["image_id"][-3:]) // 2 for each in near}) == 3
        assert [each["distance"] for each in near] == sorted(each["distance"] for each in near)


def test_page_names_no_lesion_and_says_what_it_is(told: tuple) -> None:
    metrics, _, page, log = told
    assert "SYNTHETIC" in page
    assert not re.search(r"(train|test|val)-\d", page)
    assert {path.name for _, path in log.artifacts} == {"explanations.html", "explanations.json"}
    assert any("verdict" in line for line in log.lines)
    assert set(metrics) == {"vae-frozen", "random-frozen"}


def test_a_run_without_predictions_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    changed = given(SilentLog())
    changed["study"] = Study(name="tiny", arms=ARMS, protocols=("frozen",), seeds=(0, 1, 7), reference="vae")
    with pytest.raises(
        DataError, match=r"vae-frozen-7.parquet is missing, expected for every run of study.*dvc repro evaluate"
    ):
        explain.work(**changed)
