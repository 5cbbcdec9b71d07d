"""The probe against scikit-learn's metrics and cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from components.probes.linear import PENALTY, probe

CLASSES = 3


def draw(count: int, seed: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 6) whose first three tell the class by `shift` standard deviations; class 0 is frequent."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, count, p=[0.7, 0.2, 0.1])
    labels[:CLASSES] = range(CLASSES)
    features = rng.normal(size=(count, 6))
    features[np.arange(count), labels] += shift
    return features.astype(np.float32) * np.array([1, 1, 1, 1e4, 1e-4, 1], np.float32), labels


def test_values_are_those_of_scikit_learn() -> None:
    (train, own), (val, other) = draw(300, 0, 2.0), draw(200, 1, 2.0)
    found = probe(train, own, val, other)
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=10_000))
    oracle.fit(train.astype(float), own)
    answers, p = oracle.predict(val.astype(float)), oracle.predict_proba(val.astype(float))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(other, answers), abs=1e-9)
    assert found.macro_auroc == pytest.approx(roc_auc_score(other, p, multi_class="ovr"), abs=1e-4)
    assert found.train_balanced_accuracy == pytest.approx(
        balanced_accuracy_score(own, oracle.predict(train.astype(float))), abs=1e-9
    )
    assert found.features == 6


def test_fewer_images_than_features_give_the_same_probe() -> None:
    rng = np.random.default_rng(8)
    (train, own), (val, other) = draw(40, 9, 1.0), draw(200, 10, 1.0)
    train, val = (np.hstack([each, rng.normal(size=(len(each), 90))]).astype(np.float32) for each in (train, val))
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced", tol=1e-8))
    p = oracle.fit(train.astype(float), own).predict_proba(val.astype(float))
    assert probe(train, own, val, other).macro_auroc == pytest.approx(
        roc_auc_score(other, p, multi_class="ovr"), abs=1e-3
    )


def test_classes_that_are_far_apart_are_found_and_noise_is_guessed() -> None:
    (train, own), (val, other) = draw(300, 2, 8.0), draw(200, 3, 8.0)
    assert probe(train, own, val, other).balanced_accuracy == 1
    (train, own), (val, other) = draw(3000, 4, 0.0), draw(3000, 5, 0.0)
    noise = probe(train, own, val, other)
    assert noise.balanced_accuracy == pytest.approx(1 / CLASSES, abs=0.05)
    assert noise.macro_auroc == pytest.approx(0.5, abs=0.03)


def test_the_scale_of_features_changes_nothing() -> None:
    (train, own), (val, other) = draw(300, 6, 1.0), draw(200, 7, 1.0)
    first, scaled = probe(train, own, val, other), probe(1e3 * train, own, 1e3 * val, other)
    assert scaled.balanced_accuracy == pytest.approx(first.balanced_accuracy, abs=0.011)
    assert scaled.macro_auroc == pytest.approx(first.macro_auroc, abs=1e-3)
