"""A fine-tuning of a second: tiny images and a tiny network, for tests of the stages that train and evaluate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from components.base.log import SilentLog
from components.data.labels import Labels
from components.data.pixels import write_pixels
from components.models.backbones.timm import Config as Timm
from components.models.weights_file import read_tensors, save_encoder
from components.statistics.runs import FINGERPRINTS
from flows.finetune import finetune
from flows.settings import PARAMS, Settings, load_settings

BACKBONE = Timm(name="test_efficientnet")
CLASSES = ("benign", "malignant", "vascular")
SIZE = 32


def write_random_split(folder: Path, count: int, seed: int) -> None:
    """Images whose brightness depends on the class."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % len(CLASSES)
    images = rng.integers(0, 60, (count, SIZE, SIZE, 3)) + 60 * classes[:, None, None, None]
    names = [f"{folder.name}_{row:03d}" for row in range(count)]
    index = pd.DataFrame(
        {"image_id": names, "label": [CLASSES[k] for k in classes], "lesion_id": names, "group": names}
    )
    write_pixels(folder, images.astype(np.uint8), index, SIZE)


def fingerprints(metrics: dict) -> dict:
    return {name: metrics[name] for name in FINGERPRINTS}


def without_settings(metrics: dict) -> dict:
    """What a training gave, without its settings and their hash: some have no effect under one protocol."""
    return {name: value for name, value in metrics.items() if name not in ("settings", "settings_sha256")}


def changed_finetune(settings, **changes):
    return settings["finetune"].model_copy(update=changes)


def weights_of(paths, run: str) -> dict[str, torch.Tensor]:
    return read_tensors(paths.classifiers / f"{run}.safetensors")


def encoder_of(paths, run: str) -> dict[str, torch.Tensor]:
    weights = weights_of(paths, run)
    return {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}


def stop_in_second_epoch(self, items, total, what):
    for place, item in enumerate(items):
        if "epoch 2" in what and place == 1:
            raise KeyError("killed")
        yield item


@pytest.fixture(scope="module")
def params(repo) -> Settings:
    return load_settings(repo / PARAMS)


@pytest.fixture(scope="module")
def labels() -> Labels:
    return Labels(scheme="three", schemes={"three": {name: (name,) for name in CLASSES}})


@pytest.fixture(scope="module")
def settings(params, labels) -> dict[str, object]:
    """Sections that make a tiny training."""
    schedule = {"epochs": 2, "learning_rate": 0.01}
    lpft = {"head": schedule, "full": schedule}
    head = {"hidden": 8, "dropout": 0.2}
    changes = {"frozen": schedule, "full": schedule, "lpft": lpft, "batch_size": 8, "head": head}
    tiny = type(params.finetune).model_validate(params.finetune.model_dump() | changes)
    return {"labels": labels, "backbone": BACKBONE, "augment": params.augment, "finetune": tiny}


@pytest.fixture
def paths(tmp_path, params):
    """A workspace with packed images and two arms, one of them twice."""
    changed = {name: tmp_path / name for name in type(params.paths).model_fields}
    paths = params.paths.model_copy(update=changed)
    for seed, (split, count) in enumerate({"train": 21, "val": 9, "test": 9}.items()):
        write_random_split(paths.pixels / split, count, seed)
    for arm, seed in {"vae": 0, "twin": 0, "random": 1}.items():
        for study_seed in (0, 1):  # of each arm one fixed set of weights
            torch.manual_seed(seed)
            made = {"arm": arm} | ({"alarms": ["dead decoder: 3 %"]} if arm == "random" else {})
            save_encoder(paths.encoders / f"{arm}-{study_seed}.safetensors", BACKBONE.build(), BACKBONE, made)
    return paths


@pytest.fixture
def run(settings, paths, params):
    def run(arm="vae", protocol="full", seed=0, log=None, **changes):
        given = settings | {"paths": paths, "compute": params.compute, "log": log or SilentLog()} | changes
        return finetune.work(arm=arm, protocol=protocol, seed=seed, **given)

    return run
