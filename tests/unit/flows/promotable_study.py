"""A checkout with three registered bundles of one small study, for tests of promotion."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from components.data.pixels import read_pixels
from components.deployment.bundle import open_bundle
from components.models.classifier_file import load_classifier
from components.models.encoder import embed, read_batches
from flows.registry.versions import register
from flows.settings import load_settings
from flows.tracking.mlflow_log import open_client
from tests.unit.comparison.simulated_study import FOLDERS, write_json
from tests.unit.deployment.bundled_study import make_bundle, rebuild
from tests.unit.flows.predicted_study import write_run
from tests.unit.training.small_trainings import BACKBONE, CLASSES, SIDE

NAME = "dermflow-demo"
LENIENT = {"recommended": True, "lesions": 2, "gap": 0.9, "accuracy": 0.99, "sensitivity": 0.99, "specificity": 0.99,
           "log_loss": 99.0, "approval": "person"}  # fmt: skip


RUNS = ("vae-frozen-1", "vae-frozen-0", "random-frozen-0")


def learn(root: Path, run: str) -> None:
    """Train the head of a run, so that it is better than chance."""
    classifier = load_classifier(root / FOLDERS["classifiers"] / f"{run}.safetensors", BACKBONE, CLASSES)
    pixels = read_pixels(root / FOLDERS["pixels"] / "train")
    features = embed(classifier.encoder, read_batches(pixels.take, np.arange(len(pixels))))
    (stage,) = classifier.head.standardisation.parts
    stage.running_mean.copy_(features.mean(0))
    stage.running_var.copy_(features.var(0) + 1e-6)
    inputs, labels = classifier.head.standardisation(features).detach(), torch.as_tensor(pixels.labels(CLASSES))
    layers = torch.nn.Sequential(*list(classifier.head)[1:])
    optimiser = torch.optim.Adam(layers.parameters(), lr=0.02)
    for _ in range(200):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layers(inputs), labels).backward()
        optimiser.step()
    write_run(root, run, classifier.eval())


def make_study(root: Path, repo: Path) -> None:
    """A checkout with three registered bundles of one study, of which none is in use.

    Args:
        root: its folder.
        repo: from which settings and requirements are taken.
    """
    for name in ("params.yaml", "requirements.lock"):
        (root / name).write_text((repo / name).read_text())
    make_bundle(root)
    for run in RUNS:
        learn(root, run)
    for run in (root / FOLDERS["metrics"] / "finetune").glob("*.json"):
        write_json(run, json.loads(run.read_text()) | {"best": {"gap/loss": 0.1}})
    write_json(root / FOLDERS["metrics"] / "validation.json", {"expectations": {"rows": {"success": True}}})
    write_settings(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        settings, client = load_settings(), open_client()
        for run in RUNS:
            recommend(root, run)
            rebuild(root)
            register(client, open_bundle(root / FOLDERS["bundle"]), settings)


def recommend(root: Path, run: str) -> None:
    path = root / FOLDERS["reports"] / "comparison.json"
    content = json.loads(path.read_text())
    write_json(path, content | {"recommendation": content["recommendation"] | {"run": run}})


def write_settings(root: Path, **changes: object) -> None:
    """The demo's settings on the small study, with gates that it passes."""
    values = YAML(typ="safe").load((root / "params.yaml").read_text())
    values["paths"] = {name: str(path) for name, path in FOLDERS.items()}
    values["labels"] = {"scheme": "three", "schemes": {"three": {name: [name] for name in CLASSES}}}
    values["clinical"] |= {"malignant": [CLASSES[1]], "severity": None, "costs": None}
    values["pack"] = {"image_size": SIDE, "fit": "crop"}
    values["compare"] |= {"resamples": 100}
    values["promotion"] = LENIENT | changes
    with (root / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(values, file)
