"""Simulated folds: predictions of two or three arms on tests that together hold every lesion once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from components.base.run_id import FinetuneProtocol, RunId
from components.cross_validation.folds import Fold
from components.statistics.prior import Priors
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule
from components.statistics.runs import Run
from tests.unit.comparison.simulated_study import Truth, answer, draw_images, fingerprints

CLASSES = ("bkl", "mel", "nv")
FROZEN = FinetuneProtocol.FROZEN


def question(arms: tuple[str, ...] = ("vae", "imagenet"), synthetic: bool = False, **changes: object) -> StudyQuestion:
    """Two seeds, a margin of 2 points."""
    given: dict[str, object] = {
        "study": "simulation",
        "arms": arms,
        "protocols": (FROZEN,),
        "seeds": (0, 1),
        "reference": "imagenet",
        "classes": CLASSES,
        "rule": Rule(confidence=0.95, margin=0.02, min_seeds=3),
        "resamples": 200,
        "seed": 0,
        "synthetic": synthetic,
    }
    return StudyQuestion(**(given | changes))


def simulate_folds(right: Mapping[str, float], count: int = 5, lesions: int = 60, seed: int = 0) -> list[Fold]:
    """Folds of `lesions` test lesions each; `right` is how often each arm is right."""
    rng, frequencies = np.random.default_rng(seed), np.array([0.25, 0.2, 0.55])
    folds = []
    for number in range(count):
        images = draw_images(Truth(dict(right), {}, lesions=lesions), "test", rng)
        for column in ("image_id", "lesion_id", "group"):
            images[column] = f"fold{number}_" + images[column]
        runs = [
            Run(RunId(arm, FROZEN, of), answer(images, share, CLASSES, rng), summary=fingerprints(f"fold {number}", of))
            for arm, share in right.items()
            for of in (0, 1)
        ]
        folds.append(Fold(number, runs, Priors(frequencies, frequencies), train_lesions=lesions * (count - 2)))
    return folds


def labelled(folds: list[Fold]) -> list[str]:
    """The images of all tests."""
    return pd.concat([fold.runs[0].predictions["image_id"] for fold in folds]).tolist()
