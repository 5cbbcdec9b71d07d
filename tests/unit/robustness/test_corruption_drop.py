"""A planted loss is found where it was planted, with the numbers of scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score

from components.robustness.analysis import RobustnessResult
from components.robustness.corruption_drop import balanced_accuracies
from components.robustness.measurements import CorruptionLevel
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.resampled import resample
from tests.unit.robustness.simulated_runs import QUESTION, analyse_simulated, simulate


def test_columns_are_those_of_the_other_balanced_accuracy() -> None:
    rng = np.random.default_rng(3)
    labels, groups = rng.integers(0, 3, 60), np.repeat(np.arange(30), 2)
    sample = resample(labels, groups, 50, 0.95, rng)
    p = [softmax(rng.normal(size=(60, 3)), axis=1) for _ in range(4)]
    found = balanced_accuracies(np.stack([each.argmax(1) == labels for each in p]), labels, sample.weights)
    expected = np.stack([balanced_accuracy(labels, each, sample.weights) for each in p])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for row, each in zip(found, p, strict=True):
        assert row[0] == pytest.approx(balanced_accuracy_score(labels, each.argmax(1)))


def test_a_loss_is_found_where_it_was_planted(planted: RobustnessResult) -> None:
    vae, imagenet = planted.models
    blur, noise = vae.drops.corruptions
    assert vae.worst is noise
    assert noise.difference.significant
    assert noise.drop.low > 0.1
    assert vae.drops.difference.significant
    assert not blur.difference.significant
    assert abs(blur.drop.mean) < 1e-12
    assert imagenet.drops.difference is None
    assert noise.strengths[1].drop.mean > noise.strengths[0].drop.mean


def test_a_drop_is_the_paired_difference_of_means(planted: RobustnessResult) -> None:
    measured, runs = simulate()
    clean, corrupted = (
        np.mean([balanced_accuracy_score(measured.labels, p.argmax(1)) for p in each])
        for each in ([run.clean for run in runs[:4]], [run.corrupted[CorruptionLevel("noise", 3)] for run in runs[:4]])
    )
    drops = planted.models[0].drops
    strength = drops.corruptions[1].strengths[1]
    assert drops.clean.mean == pytest.approx(clean)
    assert strength.accuracy.mean == pytest.approx(corrupted)
    assert strength.drop.mean == pytest.approx(clean - corrupted)
    single = [each.drop.mean for corruption in drops.corruptions for each in corruption.strengths]
    assert drops.overall.mean == pytest.approx(np.mean(single))


def test_few_seeds_make_no_difference_significant() -> None:
    found = analyse_simulated(*simulate(seeds=2), replace(QUESTION, seeds=(0, 1)))
    assert not any(model.drops.difference.significant for model in found.models if model.drops.difference)


def test_a_corruption_can_be_significant_however_few_resamples_were_asked_for() -> None:
    """Two corruptions, 40 resamples: 2 * 2 / 41 = 0.098 could never decide. Masked lesions are the larger family."""
    found = analyse_simulated(*simulate(), question=replace(QUESTION, resamples=40))
    noise = next(each for each in found.models[0].drops.corruptions if each.name == "noise")
    assert (found.question.resamples, found.question.too_few) == (319, 40)  # 2 arms, 2 pictures, 2 metrics: 8 tests
    assert noise.difference is not None
    assert noise.difference.significant
