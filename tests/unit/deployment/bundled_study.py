"""A small study with the bundle that the stage makes of it."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from components.base.log import SilentLog
from components.data.adapters.synthetic import Config as Synthetic
from components.data.pixels import read_pixels
from components.deployment.settings import Bundle, Point
from components.statistics.runs import FINGERPRINTS
from flows.bundle import bundle
from flows.settings.data import Pack
from tests.unit.comparison.simulated_study import FOLDERS, Truth, settings, write_json
from tests.unit.flows.predicted_study import ARMS, SEEDS, given, write_study
from tests.unit.training.small_trainings import CLASSES, SIDE

RUN = "vae-frozen-1"


def write_records(root: Path, chosen: str = RUN) -> None:
    """What the stages before `bundle` wrote, besides pixels, classifiers and predictions."""
    splits = []
    for split in ("train", "val", "test"):
        index = read_pixels(root / FOLDERS["pixels"] / split).index
        splits.append(index[["image_id", "label", "group"]].assign(split=split))
    pd.concat(splits).to_csv(root / FOLDERS["split"], index=False)
    (root / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    reports, metrics = root / FOLDERS["reports"], root / FOLDERS["metrics"]
    write_json(reports / "comparison.json", {
        "recommendation": {"run": chosen, "recommended": True, "sentence": f"Best candidate: {chosen}."},
        "protocol": {"sentence": "Exploratory: no protocol was locked."},
    })  # fmt: skip
    (reports / "model_card.md").write_text(f"# {chosen}\n")
    write_json(metrics / "ingest.json", {"read": {"images": 102, "known_ids": {"patient_id": 0, "lesion_id": 102}}})
    write_json(metrics / "pack.json", {name: {"images": len(part)} for name, part in
                                       zip(("train", "val", "test"), splits, strict=True)})  # fmt: skip
    runs = [f"{arm}-frozen-{seed}" for arm in ARMS for seed in SEEDS]
    write_json(metrics / "evaluate.json", {run: {"balanced_accuracy": 0.5} for run in runs})
    for run in runs:
        write_json(metrics / "finetune" / f"{run}.json", dict.fromkeys(("encoder_sha256", *FINGERPRINTS), "abc"))
    for arm in ARMS:
        for seed in SEEDS:
            write_json(metrics / "pretrain" / f"{arm}-{seed}.json", {"licence": None})


def arguments(log: SilentLog, **chosen: Any) -> dict[str, Any]:
    """Of the stage `bundle`."""
    truth = Truth(right={"vae": 0.5, "random": 0.5}, gap={"vae": 0.1, "random": 0.1})
    common = settings(truth, reference="vae")
    clinical = common["clinical"]
    assert isinstance(clinical, BaseModel)
    values = clinical.model_dump() | {"malignant": (CLASSES[1],), "severity": None, "costs": None}
    return given(log) | {
        "dataset": Synthetic(kind="synthetic", path=Path("raw")),
        "pack": Pack(image_size=SIDE, fit="crop"),
        "finetune": common["finetune"],
        "evaluate": common["evaluate"],
        "clinical": type(clinical)(**values),
        "bundle": Bundle(
            **{"run": None, "point": Point(fixed="sensitivity", level=clinical.levels[0]), "components": 4,
               "unlike": 0.2} | chosen
        ),
    }  # fmt: skip


def make_bundle(root: Path, **chosen: Any) -> SilentLog:
    """A study in `root`, and its bundle in the folder of `paths.bundle`."""
    write_study(root)
    write_records(root)
    return rebuild(root, **chosen)


def rebuild(root: Path, **chosen: Any) -> SilentLog:
    """The bundle anew."""
    log = SilentLog()
    with chdir(root):
        bundle.work(**arguments(log, **chosen))
    return log
