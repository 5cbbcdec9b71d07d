"""The share of accuracy above chance that is kept with the lesion masked, and its paired difference between arms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from components.base.run_id import RunId
from components.robustness.analysis import RobustnessResult
from components.robustness.kept_accuracy import kept_shares
from components.robustness.measurements import RunPredictions
from components.statistics.resampled import resample
from tests.unit.robustness.simulated_runs import FROZEN, analyse_simulated, simulate


def answers(labels: np.ndarray, right: float) -> np.ndarray:
    """(N, 3) certain predictions; the first `right` of each class's images are right."""
    chosen = (labels + 1) % 3
    for k in range(3):
        rows = np.flatnonzero(labels == k)
        chosen[rows[: round(right * len(rows))]] = k
    return np.eye(3)[chosen]


def run(arm: str, clean: np.ndarray, masked: np.ndarray) -> RunPredictions:
    return RunPredictions(RunId(arm, FROZEN, 0), clean, {}, {"border": masked})


def test_the_share_is_accuracy_above_chance_by_accuracy_above_chance() -> None:
    labels = np.repeat(np.arange(3), 30)
    models = {
        ("vae", FROZEN): [run("vae", answers(labels, 0.7), answers(labels, 0.4))],
        ("imagenet", FROZEN): [run("imagenet", answers(labels, 0.9), answers(labels, 0.7))],
    }
    sample = resample(labels, np.arange(90), 50, 0.95, np.random.default_rng(0))
    found = kept_shares(models, "border", np.ones(90, bool), (0, 1, 2), sample, "imagenet")
    vae, imagenet = found["vae", FROZEN], found["imagenet", FROZEN]
    assert vae.share.mean == pytest.approx((0.4 - 1 / 3) / (0.7 - 1 / 3))
    assert imagenet.share.mean == pytest.approx((0.7 - 1 / 3) / (0.9 - 1 / 3))
    assert vae.difference.interval.mean == pytest.approx(vae.share.mean - imagenet.share.mean)
    assert imagenet.difference is None


def test_an_arm_that_uses_the_border_keeps_more_than_one_that_does_not(planted: RobustnessResult) -> None:
    vae, imagenet = ({each.picture: each.kept for each in model.shortcuts} for model in planted.models)
    assert imagenet["border"].share.low > vae["border"].share.high
    assert vae["border"].difference.interval.high < 0 and vae["border"].difference.p < 0.01
    lesion = vae["without_lesion"].difference
    assert lesion.interval.low <= 0 <= lesion.interval.high and lesion.p > 0.05
    assert imagenet["lesion_alone"].share.mean == pytest.approx(1)  # the same predictions as on whole images


def test_the_difference_is_paired_by_seed_and_over_counted_images(planted: RobustnessResult) -> None:
    measured, runs = simulate()
    rows = ~measured.touches_border
    scores = [
        [
            balanced_accuracy_score(measured.labels[rows], p[rows].argmax(1)) - 1 / 3
            for p in (each.masked["border"], each.clean)
        ]
        for each in runs
    ]
    kept = np.array([masked / clean for masked, clean in scores]).reshape(2, 4)  # arm, seed
    assert planted.models[0].shortcuts[1].kept.difference.interval.mean == pytest.approx((kept[0] - kept[1]).mean())


def test_a_seed_at_chance_leaves_the_share_unknown() -> None:
    measured, runs = simulate()
    wrong = np.eye(3)[(measured.labels + 1) % 3]
    found = analyse_simulated(measured, [replace(runs[0], clean=wrong), *runs[1:]])
    kept = found.models[0].shortcuts[1].kept
    assert not kept.share.known and not kept.difference.interval.known
    assert kept.difference.p == 1
