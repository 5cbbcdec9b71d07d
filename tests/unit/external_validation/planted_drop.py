"""Runs whose drop on an external test set is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.base.log import SilentLog
from components.base.run_id import FinetuneProtocol, RunId
from components.external_validation.analysis import assess
from components.external_validation.label_map import LabelMap, check_labels
from components.external_validation.results import EXTERNAL, ExternalSetup, ExternalValidationResult
from components.statistics.prior import Priors
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule
from components.statistics.runs import Run, same_images
from tests.unit.clinical.simulation import CLASSES, MALIGNANT, common_noise, draw_lesions, predict

ANSWERED = 0.8


def simulate_runs(
    skills: dict[str, tuple[float, float]], lesions: tuple[int, int] = (450, 350), without: tuple[str, ...] = ()
) -> list[Run]:
    """Runs of three seeds; `skills` on internal and on external images, which lack the classes `without`."""
    rng = np.random.default_rng(0)
    parts = [draw_lesions(count, split, rng) for count, split in ((300, "val"), (lesions[0], "test"))]
    external = draw_lesions(lesions[1], EXTERNAL, rng)
    parts.append(external[~external["label"].isin(without)])
    images = pd.concat(parts, ignore_index=True)
    common, there = common_noise(images, rng), (images["split"] == EXTERNAL).to_numpy()
    runs = []
    for arm, (inside, beyond) in skills.items():
        for seed in range(3):
            effect = 0.03 * rng.normal()
            own = [
                predict(images, skill + effect, 1.6, common, np.random.default_rng(seed)) for skill in (inside, beyond)
            ]
            p = np.where(there[:, None], own[1], own[0])
            table = images[["image_id", "lesion_id", "group", "split", "label"]]
            table = table.assign(**{f"p_{name}": p[:, k] for k, name in enumerate(CLASSES)})
            runs.append(Run(RunId(arm, FinetuneProtocol.FROZEN, seed), table))
    return runs


def map_labels(runs: list[Run], outside: dict[str, int] | None = None) -> LabelMap:
    """External diagnoses are the classes in upper case."""
    table = runs[0].predictions.query("split == @EXTERNAL").assign(diagnosis=lambda t: t["label"].str.upper())
    return check_labels("pad", table, outside or {}, same_images(runs, "test", CLASSES), CLASSES)


def study_question(arms: tuple[str, ...], resamples: int, synthetic: bool = False) -> StudyQuestion:
    """Of the simulated runs, with imagenet as reference."""
    return StudyQuestion(
        study="planted", arms=arms, protocols=(FinetuneProtocol.FROZEN,), seeds=(0, 1, 2), reference="imagenet",
        classes=CLASSES, rule=Rule(0.95, 0.02, 3), resamples=resamples, seed=0, synthetic=synthetic,
    )  # fmt: skip


def assess_runs(
    runs: list[Run],
    *,
    arms: tuple[str, ...] = ("imagenet", "vae"),
    malignant: tuple[str, ...] | None = MALIGNANT,
    resamples: int = 200,
    synthetic: bool = False,
) -> ExternalValidationResult:
    """The analysis of simulated runs, with imagenet as reference."""
    question = study_question(arms, resamples, synthetic)
    equal = np.full(len(CLASSES), 1 / len(CLASSES))
    setup = ExternalSetup("pad", malignant, (0.9,), 15, Priors(equal, equal), ANSWERED)
    return assess(runs, map_labels(runs), question, setup, SilentLog())
