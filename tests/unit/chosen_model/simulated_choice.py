"""A model for use with known answers to simulated test images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from components.base.json_data import plain
from components.chosen_model.analysis import ChosenModel, assess_chosen
from components.chosen_model.fitness import judge
from components.chosen_model.record import as_record
from components.deployment.manifest import Manifest

CLASSES = ("bcc", "mel", "nv")
LEAST = 20


def manifest(clinic: Mapping[str, float] | None = None) -> Manifest:
    """Malignant from a probability of 0.4 on; no answer below a confidence of 0.5.

    Args:
        clinic: class frequencies where the model would be used; None: not stated.
    """
    equal = dict.fromkeys(CLASSES, 1 / 3)
    rate = {"mean": 0.5, "low": None, "high": None}
    return Manifest.model_validate(
        {
            "version": 1, "run": "vae-frozen-1", "arm": "vae", "protocol": "frozen", "seed": 1, "recommended": True,
            "recommendation": "Best.", "protocol_followed": "Exploratory.", "synthetic": False, "classes": CLASSES,
            "malignant": ("bcc", "mel"), "image_size": 64, "fit": "crop", "backbone": {"kind": "timm"},
            "frequencies": {"learned": equal, "train": equal, "clinic": clinic}, "temperature": 1.0,
            "points": [{"fixed": "sensitivity", "level": 0.9, "threshold": 0.4, "val": {}, "test": {"ppv": rate}}],
            "point": 0, "conformal": {"promised": 0.9, "lesions": 9, "limits": dict.fromkeys(CLASSES, 0.9)},
            "abstention": {"answered": 0.8, "threshold": 0.5}, "unlike": 0.01, "test": {},
            "provenance": {"dermflow": "1", "study": "s", "dataset": "ham10000", "images": {}, "split_sha256": "",
                           "test_sha256": "", "fingerprints": {}, "data_licence": {}, "weights_licence": None},
            "files": {},
        }
    )  # fmt: skip


@cache
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions on test, and accepted images: 240 lesions of two images, patients of two lesions."""
    rng = np.random.default_rng(0)
    lesions = pd.DataFrame({"label": rng.choice(CLASSES, 240, p=[0.2, 0.4, 0.4])})
    lesions["lesion_id"] = [f"l{place}" for place in range(240)]
    lesions["patient_id"] = [f"p{place // 2}" for place in range(240)]
    patients = rng.choice([2, 3, 5], 120, p=[0.6, 0.35, 0.05])
    lesions["skin_type"] = pd.array(patients[np.arange(240) // 2], dtype="Int64")
    lesions["sex"] = rng.choice(["female", "male"], 120)[np.arange(240) // 2]
    images = lesions.loc[np.repeat(np.arange(240), 2)].reset_index(drop=True)
    images["image_id"] = [f"i{place:03d}" for place in range(480)]
    truth = pd.Categorical(images["label"], categories=list(CLASSES)).codes
    p = rng.dirichlet(np.ones(3), 480) * 0.6 + 0.4 * np.eye(3)[truth]
    table = images[["image_id", "lesion_id", "label"]].assign(group=images["patient_id"], split="test")
    table = table.assign(**{f"p_{name}": p[:, k] for k, name in enumerate(CLASSES)})
    accepted = images.drop(columns="label").assign(diagnosis=images["label"], age=50.0, site="back", source="s")
    return table, accepted


@cache
def choice() -> ChosenModel:
    """The assessment of these images."""
    return assess(*tables(), manifest())


def assess(table: pd.DataFrame, accepted: pd.DataFrame, model: Manifest) -> ChosenModel:
    """The assessment of any images."""
    return assess_chosen(table, accepted, model, ages=(40, 60), least=LEAST, resamples=200, confidence=0.95, seed=0)


def record(**changes: Any) -> dict[str, Any]:
    """The record of this model."""
    plan = {"study": "s", "unit": "patients", "missing_ids": [], "rule": {"confidence": 0.95}} | changes
    share = {"mean": 0.25, "low": 0.125, "high": 0.5}
    kinds = [{"name": "hair", "drop": share}, {"name": "colour_cast", "drop": share | {"mean": 0.3}}]
    given = choice()
    point = manifest().points[0]
    fitness = judge(None, given, point, confirmatory=True, synthetic=False, external=(), run="vae-frozen-1")
    found: dict[str, Any] = plain(
        as_record(
            manifest(),
            given,
            fitness,
            {"plan": plan},
            bundle_sha256="ab" * 32,
            robustness={"sheets": [{"arm": "vae", "protocol": "frozen", "kinds": kinds, "clean": share}]},
            explanations={"models": {"vae-frozen": {"maps": "depends on the weights"}}},
            external=(),
        )
    )
    return found
