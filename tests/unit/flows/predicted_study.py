"""A small study with packed images, classifiers and predictions, as the analyses after `evaluate` read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from components.base.log import SilentLog
from components.base.run_id import FinetuneProtocol, RunId
from components.data.adapters.synthetic import Config as Synthetic
from components.data.labels import Labels
from components.data.pixels import read_pixels, write_pixels
from components.models.classifier import Classifier, build_head, predict
from components.models.classifier_file import save_classifier
from components.training.examples import Examples
from components.training.settings import Compute
from flows.settings.study import Study
from tests.unit.comparison.simulated_study import FOLDERS, Truth, settings
from tests.unit.training.small_trainings import BACKBONE, CLASSES, SIDE

ARMS, SEEDS, FROZEN = ("vae", "random"), (0, 1), FinetuneProtocol.FROZEN


def write_study(root: Path) -> None:
    """Two arms with one frozen encoder each, two seeds; the brightness of an image shows its class."""
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
            classifier = Classifier(encoder, build_head(encoder.feature_sizes, 8, 0.0, 3, seed)).eval()
            write_run(root, str(RunId(arm, FROZEN, seed)), classifier)


def write_run(root: Path, name: str, classifier: Classifier) -> None:
    """Weights of one run, and its predictions on val and test."""
    provenance = {"classes": list(CLASSES), "features": "last_map", "head": {"hidden": 8, "dropout": 0.0}}
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


def given(log: SilentLog) -> dict[str, object]:
    """The arguments that analyses of the study have in common."""
    common = settings(Truth(right={"vae": 0.5, "random": 0.5}, gap={"vae": 0.1, "random": 0.1}), reference="vae")
    taken = {name: common[name] for name in ("compare", "paths")}
    return taken | {
        "study": Study(name="tiny", arms=ARMS, protocols=("frozen",), seeds=SEEDS, reference="vae"),
        "dataset": Synthetic.model_construct(kind="synthetic", path=Path("raw")),
        "labels": Labels(scheme="three", schemes={"three": {name: (name,) for name in CLASSES}}),
        "backbone": BACKBONE,
        "compute": Compute(device="cpu", threads=1, precision="auto", compile=False),
        "log": log,
    }
