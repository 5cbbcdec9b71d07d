"""Five test images of four lesions, runs with known errors, and a small result of two models."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.base.run_id import FinetuneProtocol, RunId
from components.explanations.analysis import CaseExplanation, ExplanationsResult, ModelExplanation
from components.explanations.map_check import MapSimilarity
from components.explanations.neighbours import Neighbour
from components.explanations.selection import Case, ConfidentError, ModelRuns, find_errors
from components.explanations.settings import Explain
from components.statistics.intervals import Interval
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule
from components.statistics.runs import Images, Run

CLASSES = ("nv", "mel", "vasc")
MALIGNANT = ("mel",)
FROZEN = FinetuneProtocol.FROZEN
SETTINGS = Explain(images=2, errors=3, neighbours=3, steps=8, same_from=0.5, max_missed=0.1, seed=0)
QUESTION = StudyQuestion(
    study="s", arms=("vae", "imagenet"), protocols=(FROZEN,), seeds=(0,), reference="imagenet", classes=CLASSES,
    rule=Rule(confidence=0.95, margin=0.02, min_seeds=3), resamples=200, seed=0, synthetic=False,
)  # fmt: skip
IMAGES = Images(np.array(list("abcde")), np.array([0, 0, 1, 1, 2]), np.array(list("ABCCE")))
WRONG = np.array([[0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.02, 0.03, 0.95]])
RIGHT = np.eye(3)[[0, 0, 1, 1, 2]] * 0.9 + 0.1 / 3
NEAR = (Neighbour("t1", "nv", 0.25),)


def run_of(p: np.ndarray, arm: str = "vae", seed: int = 0) -> Run:
    """A run with probabilities (5, 3) on both splits; the two images of mel are one lesion."""
    labels = ["nv", "nv", "mel", "mel", "vasc"]
    table = pd.DataFrame({"image_id": list("abcde"), "lesion_id": list("ABCCE"), "label": labels})
    table = table.assign(group=table["lesion_id"], **{f"p_{name}": p[:, k] for k, name in enumerate(CLASSES)})
    both = pd.concat([table.assign(split=split) for split in ("val", "test")], ignore_index=True)
    return Run(RunId(arm, FROZEN, seed), both)


def errors_of(
    chosen: Run,
    seeds: tuple[Run, ...] = (),
    others: tuple[Run, ...] = (),
    malignant: tuple[str, ...] | None = MALIGNANT,
) -> tuple[tuple[ConfidentError, ...], int]:
    """The errors of a run on IMAGES."""
    model = ModelRuns(chosen, seeds or (chosen,))
    return find_errors(model, others, IMAGES, classes=CLASSES, malignant=malignant, limit=SETTINGS.errors)


def similarity(
    low: float, high: float, magnitude: tuple[float, float] | None = None, lesions: int = 7
) -> MapSimilarity:
    """To maps with everything randomised; the intervals' ends are given."""
    intervals = [Interval((a + b) / 2, a, b) for a, b in ((low, high), magnitude or (low, high), (low, high))]
    return MapSimilarity("everything", lesions, *intervals)


def explanation_of(arm: str, found: MapSimilarity) -> ModelExplanation:
    """A model with errors, whose maps have this similarity."""
    errors, wrong = errors_of(run_of(WRONG, arm), others=(run_of(RIGHT, "b"),))
    half = np.where(np.arange(16).reshape(4, 4) < 8, 1.0, -1.0)
    cases = tuple(CaseExplanation(name, "nv", 0.8, half, NEAR) for name in ("b", "c"))
    return ModelExplanation(
        run=RunId(arm, FROZEN, 0),
        similarities=(found,),
        missed=0.05,
        agreement=Interval(0.4, 0.3, 0.5),
        encoders=1,
        errors=errors,
        wrong=wrong,
        cases=cases,
    )


def small_result() -> ExplanationsResult:
    """Two models: the maps of vae are the same with randomised weights, those of imagenet are not."""
    cases = (
        Case("b", "nv", "drawn at random from nv", True),
        Case("c", "mel", "one of the most confident errors of vae-frozen", False),
    )
    return ExplanationsResult(
        question=QUESTION,
        settings=SETTINGS,
        malignant=MALIGNANT,
        images=5,
        groups=4,
        cases=cases,
        models=(explanation_of("vae", similarity(0.6, 0.9)), explanation_of("imagenet", similarity(-0.1, 0.2))),
    )
