"""The difference of two arms' probes, with seeds and val lesions in its interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.probes.against_reference import compare_probes
from components.probes.analysis import EncoderProbes
from components.probes.linear import Probed
from tests.unit.robustness.simulated_runs import QUESTION

PROBED = Probed(features=4, train_balanced_accuracy=1.0, balanced_accuracy=0.5, macro_auroc=0.7, effective_rank=3.0)
SEEDS = 4


def encoder(arm: str, seed: int, right: np.ndarray, labels: np.ndarray) -> EncoderProbes:
    p = np.eye(2)[np.where(right, labels, 1 - labels)]
    return EncoderProbes(arm, seed, (PROBED,), PROBED, p)


def draw(rng: np.random.Generator, truth: dict[str, float], lesions: int, seed_sd: float) -> tuple:
    """Lesions of one to three images; of each arm and seed, which are right."""
    sizes = rng.integers(1, 4, lesions)
    groups, labels = np.repeat(np.arange(lesions), sizes), np.repeat(np.arange(lesions) % 2, sizes)
    difficulty = np.repeat(rng.normal(size=lesions), sizes)  # common to all images of a lesion, and to all encoders
    probes = []
    for arm, skill in truth.items():
        own = np.repeat(rng.normal(size=lesions), sizes)  # of the arm, in all its seeds
        for seed in range(SEEDS):
            score = skill + seed_sd * rng.normal() + difficulty + 0.5 * own + 0.5 * rng.normal(size=len(labels))
            probes.append(encoder(arm, seed, score > 0, labels))
    return probes, labels, groups


def test_the_difference_is_that_of_the_means_over_seeds() -> None:
    rng = np.random.default_rng(0)
    probes, labels, groups = draw(rng, {"vae": 0.5, "imagenet": 1.0}, 60, 0.1)
    (found,) = compare_probes(probes, labels, groups, replace(QUESTION, resamples=200))
    means = {
        arm: np.mean([
            np.mean([(each.on_val.argmax(1) == labels)[labels == k].mean() for k in (0, 1)])
            for each in probes if each.arm == arm
        ])
        for arm in ("vae", "imagenet")
    }  # fmt: skip
    assert found.arm == "vae"
    assert found.difference.mean == pytest.approx(means["vae"] - means["imagenet"])


def test_equal_arms_are_seldom_called_different() -> None:
    """Seeds alone would not do: the arms' own difficult lesions are the same with each seed."""
    rng, called, by_seeds, studies = np.random.default_rng(1), 0, 0, 120
    for _ in range(studies):
        probes, labels, groups = draw(rng, {"vae": 0.8, "imagenet": 0.8}, 80, 0.05)
        (found,) = compare_probes(probes, labels, groups, replace(QUESTION, resamples=200))
        called += found.p <= 0.05
        values = np.array([(each.on_val.argmax(1) == labels).mean() for each in probes]).reshape(2, SEEDS)
        apart = values[0] - values[1]
        by_seeds += abs(apart.mean()) > 3.18 * apart.std(ddof=1) / np.sqrt(SEEDS)  # Student's t, 3 degrees of freedom
    assert called / studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)
    assert by_seeds > 2 * called
