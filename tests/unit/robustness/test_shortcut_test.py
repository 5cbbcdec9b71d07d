"""Planted shortcuts are found, in predictions and in synthetic images; none is found where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from components.base.run_id import RunId
from components.robustness.analysis import RobustnessResult
from components.robustness.measurements import MeasuredImages, RunPredictions, corruption_levels
from components.robustness.occlusion import mask_images
from components.robustness.shortcut_test import count_images
from components.synthetic.dataset import draw_view, plan_lesions
from components.synthetic.lesions import draw_lesion
from tests.unit.robustness.simulated_runs import CLASSES, FROZEN, QUESTION, SETTINGS, analyse_simulated, simulate


def test_a_border_that_predicts_the_class_is_a_shortcut_of_the_arm_that_uses_it(planted: RobustnessResult) -> None:
    vae, imagenet = ({each.picture: each for each in model.shortcuts} for model in planted.models)
    assert imagenet["border"].significant
    assert imagenet["border"].accuracy.interval.low > 1 / 3
    assert not any(each.significant for each in (vae["border"], vae["without_lesion"], imagenet["without_lesion"]))
    assert imagenet["lesion_alone"].accuracy.p is None  # a control is not tested


def test_the_borders_metrics_are_of_lesions_that_stay_out_of_it(planted: RobustnessResult) -> None:
    measured, runs = simulate()
    rows = ~measured.touches_border
    border = planted.models[1].shortcuts[1]
    assert (border.picture, border.images) == ("border", int(rows.sum()))
    p = [run.masked["border"][rows] for run in runs[4:]]
    expected = np.mean([balanced_accuracy_score(measured.labels[rows], each.argmax(1)) for each in p])
    assert border.accuracy.interval.mean == pytest.approx(expected)
    areas = [roc_auc_score(np.eye(3)[measured.labels[rows]], each, average="macro") for each in p]
    assert border.auroc.interval.mean == pytest.approx(np.mean(areas))


def test_few_seeds_make_no_shortcut_significant() -> None:
    found = analyse_simulated(*simulate(seeds=2), replace(QUESTION, seeds=(0, 1)))
    assert not any(each.significant for model in found.models for each in model.shortcuts)


def test_a_class_of_few_lesions_is_not_counted() -> None:
    labels, groups = np.array([0] * 8 + [1] * 8 + [2] * 8), np.array([*range(8), *range(8, 16), *[20] * 8])
    measured = MeasuredImages(labels, groups, np.ones(24, bool), np.zeros(24, bool))
    rows, classes = count_images(np.ones(24, bool), measured)
    assert classes == (0, 1)
    assert rows.sum() == 16


# --- synthetic images, whose confounders alone show the class


def confounded_images(confounding: float, lesions: int = 170) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, 48, 48, 3) of CLASSES that differ in their confounders only, class indices and lesions (N,)."""
    images, labels, groups = [], [], []
    for place, lesion in enumerate(plan_lesions(2 * lesions, 0, 1, seed=5)):
        if lesion.drawn_class not in CLASSES:
            continue
        picture, _ = draw_view(
            lesion, draw_lesion(lesion, 48, 1.0, seed=5), 0, image_size=48, confounding=confounding, seed=5
        )
        images.append(picture[:, 8:56])
        labels.append(CLASSES.index(lesion.drawn_class))
        groups.append(place)
    return np.stack(images), np.array(labels), np.array(groups)


def image_features(images: np.ndarray) -> np.ndarray:
    """(N, F) mean and deviation of brightness at rim and corners, and of gradients at the rim and overall."""
    grey = images.mean(axis=3) / 255
    rough = np.abs(np.diff(grey, axis=2))
    parts = [grey[:, :8], grey[:, -8:], grey[:, :8, :8], grey[:, -8:, -8:], rough[:, :8], rough[:, -8:], rough]
    return np.stack([each.mean(axis=(1, 2)) for each in parts] + [each.std(axis=(1, 2)) for each in parts], axis=1)


def fit_and_mask(confounding: float) -> RobustnessResult:
    """A regression on half of the images, tested on the other half with the lesion masked."""
    images, labels, groups = confounded_images(confounding)
    half = len(images) // 2
    centre, scale = image_features(images[:half]).mean(0), image_features(images[:half]).std(0)
    masked = mask_images(images[half:], 0.12)
    runs = []
    for seed in range(3):
        rows = np.random.default_rng(seed).choice(half, half)
        model = LogisticRegression(max_iter=2000, class_weight="balanced")
        model.fit((image_features(images[rows]) - centre) / scale, labels[rows])

        def predict(pictures: np.ndarray, model: LogisticRegression = model) -> np.ndarray:
            return model.predict_proba((image_features(pictures) - centre) / scale)

        clean = predict(images[half:])
        by_picture = {name: predict(pictures) for name, pictures in masked.pictures.items()}
        corrupted = dict.fromkeys(corruption_levels(SETTINGS), clean)
        runs.append(RunPredictions(RunId("imagenet", FROZEN, seed), clean, corrupted, by_picture))
    measured = MeasuredImages(labels[half:], groups[half:], masked.lesion_found, masked.touches_border)
    return analyse_simulated(measured, runs, replace(QUESTION, arms=("imagenet",), seeds=(0, 1, 2)))


def test_confounders_are_found_as_shortcuts_and_none_where_there_are_none() -> None:
    with_them, without = (fit_and_mask(each).models[0].shortcuts for each in (1.0, 0.0))
    assert with_them[0].significant
    assert with_them[0].accuracy.interval.low > 0.38  # chance of three classes is 0.33
    assert not any(each.significant for each in without)
