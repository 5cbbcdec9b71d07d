"""Predictions with a known loss under corruptions and known shortcuts."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from components.base.run_id import FinetuneProtocol, RunId
from components.robustness.analysis import RobustnessResult, analyse
from components.robustness.measurements import MeasuredImages, RunPredictions, corruption_levels
from components.robustness.settings import Robustness
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule

CLASSES = ("bkl", "mel", "nv")
FROZEN = FinetuneProtocol.FROZEN
QUESTION = StudyQuestion(
    study="planted", arms=("vae", "imagenet"), protocols=(FROZEN,), seeds=(0, 1, 2, 3), reference="imagenet",
    classes=CLASSES, rule=Rule(confidence=0.95, margin=0.02, min_seeds=3), resamples=400, seed=0, synthetic=True,
)  # fmt: skip
SETTINGS = Robustness(corruptions=("blur", "noise"), strengths=(1, 3), images=None, border=0.12, seed=0)
IMAGES, TEST_IMAGES, IMAGE_SIZE = 240, 300, 48
LOSSES = {"vae": 0.8, "imagenet": 0.0}
BORDER_SKILLS = {"vae": 0.0, "imagenet": 2.0}


def probabilities(labels: np.ndarray, skill: float, seed: int) -> np.ndarray:
    """(N, 3) probabilities that favour the class by `skill`; half of the noise is the images' own."""
    own, common = (np.random.default_rng([7, draw]).normal(size=(len(labels), 3)) for draw in (seed, 99))
    return softmax(skill * np.eye(3)[labels] + 0.5 * own + common, axis=1)


def simulate(seeds: int = 4) -> tuple[MeasuredImages, list[RunPredictions]]:
    """Arms that lose LOSSES of skill a strength under noise and none under blur, with BORDER_SKILLS on the border."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(IMAGES // 2), 2)
    labels = np.repeat(rng.integers(0, 3, IMAGES // 2), 2)
    measured = MeasuredImages(labels, groups, np.ones(IMAGES, bool), np.arange(IMAGES) % 4 == 0)
    runs = []
    for arm, loss in LOSSES.items():
        for seed in range(seeds):
            skills = {
                level: 3 - (loss * level.strength if level.corruption == "noise" else 0)
                for level in corruption_levels(SETTINGS)
            }
            corrupted = {level: probabilities(labels, skill, seed) for level, skill in skills.items()}
            masked = {
                "without_lesion": probabilities(labels, 0, seed),
                "border": probabilities(labels, BORDER_SKILLS[arm], seed + 50),
                "lesion_alone": probabilities(labels, 3, seed),
            }
            clean = probabilities(labels, 3, seed)
            runs.append(RunPredictions(RunId(arm, FROZEN, seed), clean, corrupted, masked))
    return measured, runs


def analyse_simulated(
    measured: MeasuredImages, runs: list[RunPredictions], question: StudyQuestion = QUESTION
) -> RobustnessResult:
    """The analysis of simulated runs."""
    return analyse(measured, runs, question, SETTINGS, image_size=IMAGE_SIZE, test_images=TEST_IMAGES)
