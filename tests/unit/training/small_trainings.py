"""A checkout in which a training takes a second: tiny images, a tiny net, settings and an MLflow database."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

from components.data.pixels import write_pixels
from components.models.backbones.timm import Config as Timm
from components.models.weights_file import save_encoder
from flows.settings import load_settings
from flows.stage import write_metrics
from flows.stage_io.methods import describe_method
from flows.tracking import mlflow_log

REPO = Path(__file__).resolve().parents[3]
BACKBONE = Timm(name="test_efficientnet")
CLASSES = ("benign", "malignant", "vascular")
SIDE = 32
SCHEDULE = {"epochs": 3, "learning_rate": 0.01}
SETTINGS = {
    "backbone": {"kind": "timm", "name": "test_efficientnet"},
    "labels": {"scheme": "three", "schemes": {"three": {name: [name] for name in CLASSES}}},
    "compute": {"device": "cpu", "threads": 1, "checkpoint_steps": 1},
    "study": {"arms": ["vae"], "protocols": ["full"], "reference": "vae"},
    "pretrain": {
        "arms": {
            "vae": {
                "kind": "vae", "epochs": 3, "batch_size": 6, "latent_dim": 4, "warmup_epochs": 1,
                "components": 4, "side": 8,
            },
        },
    },
    "finetune": {
        "full": SCHEDULE, "lpft": {"head": SCHEDULE, "full": SCHEDULE}, "batch_size": 6,
        "head": {"hidden": 8, "dropout": 0.2},
    },
}  # fmt: skip
COMMANDS = {"pretraining": ("pretrain", "vae", "0"), "fine-tuning": ("finetune", "vae", "full", "0")}
MADE = {
    "pretraining": ["data/encoders/vae-0.safetensors", "curves/pretrain/vae-0.csv", "metrics/pretrain/vae-0.json"],
    "fine-tuning": [
        "data/classifiers/vae-full-0.safetensors",
        "curves/finetune/vae-full-0.csv",
        "data/epoch_losses/vae-full-0.parquet",
        "metrics/finetune/vae-full-0.json",
    ],
}


def write_settings(root: Path, **sections: dict) -> None:
    """The repository's own params.yaml, tiny, with the record of `method@vae`; sections named are changed further."""
    yaml = YAML()
    data = yaml.load((REPO / "params.yaml").read_text())
    for changes in (SETTINGS, sections):
        for name, section in changes.items():
            if name == "backbone":
                data[name] = section
            else:
                data[name].update(section)
    with (root / "params.yaml").open("w") as file:
        yaml.dump(data, file)
    settings = load_settings(root / "params.yaml")
    write_metrics(root / "metrics" / "method", "vae", describe_method("vae", settings.pretrain.arms["vae"]))


def make_database(folder: Path) -> Path:
    """An empty MLflow database: making one takes seconds, copying it none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        mlflow_log.open_client()
    return folder / "mlruns" / "mlflow.db"


def fill_checkout(root: Path, database: Path, **sections: dict) -> Path:
    """Settings (sections named are changed further), packed images, an encoder, the database."""
    (root / "mlruns").mkdir()
    shutil.copy(database, root / "mlruns")
    write_settings(root, **sections)
    _write_images(root / "data")
    return root


def _write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for split, number in {"train": 21, "unlabelled": 5, "val": 9}.items():
        classes = np.arange(number) % len(CLASSES)
        images = rng.integers(0, 60, (number, SIDE, SIDE, 3)) + 60 * classes[:, None, None, None]
        names = [f"{split}_{row:03d}" for row in range(number)]
        columns = {"image_id": names, "label": [CLASSES[k] for k in classes], "lesion_id": names, "group": names}
        write_pixels(folder / "pixels" / split, images.astype(np.uint8), pd.DataFrame(columns), SIDE)
    torch.manual_seed(0)
    save_encoder(folder / "encoders" / "vae-0.safetensors", BACKBONE.build(), BACKBONE, {"arm": "vae"})


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root}/mlruns/mlflow.db")


def runs_of(root: Path) -> list:
    client = client_of(root)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return [run for run in client.search_runs(experiments) if "stage" in run.data.tags]


def histories(root: Path, run) -> dict[str, list[tuple[int, float]]]:
    client = client_of(root)
    found = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: sorted((point.step, point.value) for point in points) for name, points in found.items()}
