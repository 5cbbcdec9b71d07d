"""Folds of a cross-validation as stages: killed, continued, pooled, and skipped where nothing changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tests.pipeline.conftest import HANGS, Checkout, runs_of, wait_until

pytestmark = pytest.mark.thorough
CHANGES = (
    "study.arms=[random]", "study.reference=random", "finetune.frozen={epochs: 1, learning_rate: 0.003}",
)  # fmt: skip


def kill_all(folder: Path) -> None:
    """Send SIGKILL to every process that works in a checkout or in a clone below it."""
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] and Path(process.info["cwd"]).is_relative_to(folder):
            process.kill()


def pretrained(folds: Path) -> list[Path]:
    """The encoders of folds whose pretraining DVC has recorded; which folds run first is not fixed.

    DVC writes its lock in place: one that is half written records nothing.
    """
    found = []
    for lock in folds.glob("*/dvc.lock"):
        try:
            stages = YAML(typ="safe").load(lock.read_text())["stages"]
        except (YAMLError, KeyError, TypeError):
            continue
        if "pretrain@random-0" in stages:
            found.append(lock.parent / "data/encoders/random-0.safetensors")
    return found


def test_killed_folds_continue_and_every_lesion_is_tested_once(
    new_checkout: Callable[[], Checkout], tmp_path: Path
) -> None:
    checkout, log = new_checkout(), tmp_path / "flow.log"
    checkout.use(*CHANGES, "cross_validation.folds=3")
    checkout.repro("validate")
    command = ("-m", "flows.commands.cli", "crossvalidate")
    folds = checkout.folder / ".dvc/tmp/dermflow/folds"
    flow = checkout.start(*command, output=log)
    wait_until(lambda: bool(pretrained(folds)), flow, log, limit_s=HANGS)
    kill_all(checkout.folder)
    flow.wait(30)
    made = {encoder: encoder.stat().st_mtime_ns for encoder in pretrained(folds)}
    assert made
    done = checkout.run(*command)
    assert {encoder: encoder.stat().st_mtime_ns for encoder in made} == made  # what was finished did not run again
    assert "7 stages up to date, 3 of them unchanged" in done.stdout, done.stdout[-3000:]
    _check_pooled(checkout)
    _check_runs(checkout)
    checkout.use(*CHANGES, "cross_validation.folds=3", "robustness.border=0.2", "split.train=0.5", "split.val=0.3")
    again = checkout.run(*command)
    assert "7 stages up to date, 7 of them unchanged" in again.stdout, again.stdout[-3000:]


def _check_pooled(checkout: Checkout) -> None:
    folder = checkout.folder
    accepted = pd.read_parquet(folder / "data/accepted.parquet")
    labelled = accepted.dropna(subset="label")
    assert "cross_validation.html" in {path.name for path in (folder / "reports").iterdir()}
    record = json.loads((folder / "reports/cross_validation.json").read_text())
    assert sum(fold["test_images"] for fold in record["folds"]) == len(labelled)
    tested: Counter[str] = Counter()
    for fold in range(3):
        split = pd.read_csv(folder / "data/folds" / str(fold) / "data/split.csv", dtype="str", keep_default_na=False)
        tested.update(split.loc[split["split"] == "test", "image_id"])
    assert tested == Counter(labelled["image_id"])
    assert not (folder / "data/split.csv").exists()  # the study itself was not asked for


def _check_runs(checkout: Checkout) -> None:
    """The flow's run has a child for each fold, and each of these has the stages in its clone."""
    runs = {run.info.run_id: run for run in runs_of(checkout)}
    trained = [run for run in runs.values() if run.data.tags["stage"] == "finetune"]
    assert sorted(run.data.tags["fold"] for run in trained) == [f"{fold} of 3" for fold in range(3)]
    for run in trained:
        fold = runs[run.data.tags["mlflow.parentRunId"]]
        assert f"{fold.data.tags['fold']} of 3" == run.data.tags["fold"]
        assert runs[fold.data.tags["mlflow.parentRunId"]].data.tags["stage"] == "pipeline"
