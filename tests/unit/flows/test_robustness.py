"""The stage: classifiers, predictions and packed images in, a page and a record out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from components.base.log import SilentLog
from components.base.run_id import RunId
from components.data.whole_lesions import sample_images
from components.robustness.settings import Robustness
from flows.robustness import robustness
from flows.settings.data import Pack
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.flows.predicted_study import FROZEN, SEEDS, given, write_study
from tests.unit.training.small_trainings import CLASSES, SIDE


def test_the_stage_tests_the_named_corruptions_and_writes_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    log = SilentLog()
    corruptions = ("jpeg", "blur", "hair")
    metrics = robustness.work(
        **given(log),
        pack=Pack(image_size=SIDE, fit="crop"),
        robustness=Robustness(corruptions=corruptions, strengths=(1, 5), images=20, border=0.12, seed=0),
    )
    record = json.loads((tmp_path / FOLDERS["reports"] / "robustness.json").read_text())
    page = (tmp_path / FOLDERS["reports"] / "robustness.html").read_text()
    assert (record["images"], record["groups"], record["of_images"], record["seeds"]) == (20, 10, 24, 2)
    assert [f"{sheet['arm']}-{sheet['protocol']}" for sheet in record["sheets"]] == ["vae-frozen", "random-frozen"]
    assert [kind["name"] for kind in record["sheets"][0]["kinds"]] == list(corruptions)
    assert {path.name for _, path in log.artifacts} == {"robustness.html", "robustness.json"}
    assert any(line.startswith("20 test images; 4 runs share 2 encoders") for line in log.lines)
    assert "SYNTHETIC" in page and page.count("<h1>") == 1
    for arm in ("vae", "random"):
        expected = clean_accuracy(tmp_path, arm, record["images"])
        assert metrics[f"{arm}-frozen/clean"] == pytest.approx(expected, abs=1e-6)
        drops = {name.partition("/drop_")[2] for name in metrics if name.startswith(f"{arm}-frozen/drop_")}
        assert drops == set(corruptions)


def clean_accuracy(root: Path, arm: str, limit: int) -> float:
    """Mean over seeds of scikit-learn's balanced accuracy, from the stored predictions of the sampled images."""
    found = []
    for seed in SEEDS:
        table = pd.read_parquet(root / FOLDERS["predictions"] / f"{RunId(arm, FROZEN, seed)}.parquet")
        test = table[table["split"] == "test"].reset_index(drop=True)
        labels = test["label"].map(CLASSES.index).to_numpy()
        rows = sample_images(labels, test["group"].to_numpy(str), limit, seed=0, setting="not reached")
        answers = test[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(1)
        found.append(balanced_accuracy_score(labels[rows], answers[rows]))
    return float(np.mean(found))
