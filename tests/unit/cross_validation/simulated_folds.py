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


def draw_gaps(last: float, epochs: int, rng: np.random.Generator) -> pd.DataFrame:
    """A curve whose gap grows evenly to about `last` at the fourth epoch."""
    grown = last * np.arange(1, epochs + 1) / 4
    return pd.DataFrame({"epoch": np.arange(1, epochs + 1), "gap/loss": grown + 0.005 * rng.normal(size=epochs)})


def simulate_folds(
    right: Mapping[str, float],
    count: int = 5,
    lesions: int = 60,
    seed: int = 0,
    gap: Mapping[str, float] | None = None,
    **summary: object,
) -> list[Fold]:
    """Folds of `lesions` test lesions each.

    Args:
        right: how often each arm is right.
        count: of folds.
        lesions: of each test.
        seed: of all random numbers.
        gap: of each arm at the fourth epoch, which all runs have; 0.1 where it is not given.
        summary: of every run of the first arm, besides its fingerprints.
    """
    rng, frequencies = np.random.default_rng(seed), np.array([0.25, 0.2, 0.55])
    folds = []
    for number in range(count):
        images = draw_images(Truth(dict(right), {}, lesions=lesions), "test", rng)
        for column in ("image_id", "lesion_id", "group"):
            images[column] = f"fold{number}_" + images[column]
        runs = [
            Run(
                RunId(arm, FROZEN, of),
                answer(images, share, CLASSES, rng),
                curve=draw_gaps((gap or {}).get(arm, 0.1), 4 + (number + of) % 3, rng),
                summary=fingerprints(f"fold {number}", of) | (summary if arm == next(iter(right)) else {}),
            )
            for arm, share in right.items()
            for of in (0, 1)
        ]
        folds.append(Fold(number, runs, Priors(frequencies, frequencies), train_lesions=lesions * (count - 2)))
    return folds


def labelled(folds: list[Fold]) -> list[str]:
    """The images of all tests."""
    return pd.concat([fold.runs[0].predictions["image_id"] for fold in folds]).tolist()
