"""Runs of two arms whose learning curves are known: predictions of test lesions with planted accuracies."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from components.base.run_id import FinetuneProtocol, RunId
from components.label_efficiency.analysis import LabelEfficiencyResult, assess
from components.label_efficiency.settings import LabelEfficiency
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule
from components.statistics.runs import ENCODER, FINGERPRINTS, Run

SHARES = np.array([0.125, 0.25, 0.5, 1.0])
LESIONS = (100, 200, 400, 800)
PROTOCOL = FinetuneProtocol.FROZEN
QUESTION = StudyQuestion(
    study="planted", arms=("vae", "imagenet"), protocols=(PROTOCOL,), seeds=(0, 1, 2), reference="imagenet",
    classes=("benign", "malignant"), rule=Rule(0.95, 0.02, 3), resamples=200, seed=0, synthetic=False,
)  # fmt: skip
SETTINGS = LabelEfficiency(
    shares=tuple(SHARES[:-1].tolist()), protocols=(PROTOCOL,), seeds=(0, 1, 2), budget="steps", seed=0
)
CROSSING = 0.35


def _line(at_crossing: float, slope: float) -> np.ndarray:
    """Accuracy at each share, straight in log2(share)."""
    return at_crossing + slope * np.log2(SHARES / CROSSING)


TRUTH = {"vae": _line(0.7, 0.02), "imagenet": _line(0.7, 0.08)}
"""The VAE is ahead with fewer than 35 % of the lesions: 0.67 to 0.73 against 0.58 to 0.82."""


def _right(truth: np.ndarray, common: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Bool (P, N), True where a share's model is right; half of a lesion's difficulty is `common` to all models."""
    own = np.sqrt(0.5) * common + np.sqrt(0.5) * rng.normal(size=(len(truth), len(common)))
    return norm.cdf(own) < (truth + spread * rng.normal(size=len(truth)))[:, None]


def simulate_runs(
    truth: dict[str, np.ndarray] = TRUTH,
    question: StudyQuestion = QUESTION,
    settings: LabelEfficiency = SETTINGS,
    lesions: int = 400,
    spread: float = 0.005,
) -> list[Run]:
    """A run for each arm, seed and share; the lesions of both classes are equally hard."""
    rng = np.random.default_rng(1)
    common, labels = rng.normal(size=lesions), np.arange(lesions) % 2
    names = [f"{place:04d}" for place in range(lesions)]
    classes = np.array(question.classes)[labels]
    table = pd.DataFrame({"image_id": names, "group": names, "split": "test", "label": classes})
    runs = []
    for arm in question.arms:
        for seed in settings.seeds:
            for share, right in zip(settings.curve_shares, _right(truth[arm], common, spread, rng), strict=True):
                predicted = np.where(right, labels, 1 - labels)
                own = table.assign(p_benign=0.8 - 0.6 * predicted, p_malignant=0.2 + 0.6 * predicted)
                size = {"lesions": round(800 * share), "all_lesions": 800} if share < 1 else {}
                prints = {name: f"{name} {seed} {share}" for name in FINGERPRINTS} | {ENCODER: arm}
                runs.append(Run(RunId(arm, PROTOCOL, seed, share), own, summary={**size, **prints}))
    return runs


def assess_runs(
    runs: list[Run], question: StudyQuestion = QUESTION, settings: LabelEfficiency = SETTINGS
) -> LabelEfficiencyResult:
    """The analysis of simulated runs."""
    return assess(runs, question, PROTOCOL, settings)
