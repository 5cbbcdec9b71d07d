"""The stage: classifiers, predictions and packed images in, a page and a record out."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError
from components.base.log import SilentLog
from components.base.run_id import RunId
from components.explanations.selection import choose_run
from components.explanations.settings import Explain
from components.statistics.runs import Run
from flows.explain import explain
from flows.settings.study import Study
from tests.unit.comparison.simulated_study import FOLDERS, Truth, settings
from tests.unit.flows.predicted_study import ARMS, FROZEN, SEEDS, given, write_study
from tests.unit.training.small_trainings import CLASSES

EXPLAIN = Explain(images=2, errors=2, neighbours=3, steps=4, same_from=0.5, max_missed=0.5, seed=0)


def arguments(log: SilentLog) -> dict[str, object]:
    truth = Truth(right={"vae": 0.5, "random": 0.5}, gap={"vae": 0.1, "random": 0.1})
    return given(log) | {"clinical": settings(truth, reference="vae")["clinical"], "explain": EXPLAIN}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return folder


@pytest.fixture(scope="module")
def explained(root: Path) -> tuple[dict, dict, str, SilentLog]:
    """Metrics, record, page and log of one run of the stage."""
    log = SilentLog()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        metrics = explain.work(**arguments(log))
    reports = root / FOLDERS["reports"]
    record = json.loads((reports / "explanations.json").read_text())
    return metrics, record, (reports / "explanations.html").read_text(), log


def test_every_arm_is_shown_by_its_best_run_on_val_with_the_same_images(explained: tuple, root: Path) -> None:
    _, record, page, _ = explained
    assert list(record["models"]) == ["vae-frozen", "random-frozen"]
    for arm in ARMS:
        tables = {
            seed: pd.read_parquet(root / FOLDERS["predictions"] / f"{RunId(arm, FROZEN, seed)}.parquet")
            for seed in SEEDS
        }
        runs = [Run(RunId(arm, FROZEN, seed), table) for seed, table in tables.items()]
        assert record["models"][f"{arm}-frozen"]["run"] == choose_run(runs, CLASSES).name
    names = [case["image_id"] for case in record["cases"]]
    for model in record["models"].values():
        assert list(model["neighbours"]) == names
        assert list(model["likeness"]) == ["another seed", "head", "upper half", "everything"]
        assert model["neighbour_agreement"]["encoders"] == 1  # a frozen encoder is the same in every run
    assert all(name in page for name in names)


def test_the_errors_are_those_of_the_predictions(explained: tuple, root: Path) -> None:
    for model in explained[1]["models"].values():
        table = pd.read_parquet(root / FOLDERS["predictions"] / f"{model['run']}.parquet")
        test = table[table["split"] == "test"].set_index("image_id")
        answers = test[[f"p_{name}" for name in CLASSES]].idxmax(axis=1).str.removeprefix("p_")
        assert model["test_images_wrong"] == int((answers != test["label"]).sum())
        for error in model["errors"]:
            assert error["answer"] == answers[error["image_id"]] != test["label"][error["image_id"]]
            assert error["probability"] == pytest.approx(test.loc[error["image_id"], f"p_{error['answer']}"])


def test_neighbours_are_train_images_of_different_lesions_the_nearest_first(explained: tuple) -> None:
    for model, case in product(explained[1]["models"].values(), explained[1]["cases"]):
        near = model["neighbours"][case["image_id"]]
        assert len(near) == 3
        assert all(each["image_id"].startswith("train_") for each in near)
        assert len({int(each["image_id"][-3:]) // 2 for each in near}) == 3
        assert [each["distance"] for each in near] == sorted(each["distance"] for each in near)


def test_page_names_no_lesion_and_says_what_it_is(explained: tuple) -> None:
    metrics, _, page, log = explained
    assert "SYNTHETIC" in page
    assert not re.search(r"(train|test|val)-\d", page)
    assert {path.name for _, path in log.artifacts} == {"explanations.html", "explanations.json"}
    assert any("verdict" in line for line in log.lines)
    assert set(metrics) == {"vae-frozen", "random-frozen"}


def test_a_run_without_predictions_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    changed = arguments(SilentLog())
    changed["study"] = Study(name="tiny", arms=ARMS, protocols=("frozen",), seeds=(0, 1, 7), reference="vae")
    with pytest.raises(
        DataError, match=r"vae-frozen-7.parquet is missing, expected for every run of study.*dvc repro evaluate"
    ):
        explain.work(**changed)
