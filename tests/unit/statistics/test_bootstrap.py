"""Resamples of whole lesions against scipy, closed forms and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from components.statistics import bootstrap
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy


def _draw(seed: int, images: int = 60, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    p = rng.dirichlet(np.ones(classes), images).round(1) + 1e-3  # rounded: many ties
    groups = np.sort(rng.integers(0, images // 2, images)).astype(str)
    return labels, p / p.sum(1, keepdims=True), groups


def test_a_resample_contains_whole_lesions() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    weights = bootstrap.resample_groups(groups, 50, np.random.default_rng(0))
    assert weights.shape == (6, 50)
    for name in "abc":
        rows = weights[groups == name]
        assert (rows == rows[0]).all()
    assert (weights[[0, 1, 3]].sum(0) == 3).all()  # one image of each lesion: as many lesions as there are


def test_bootstrap_of_single_images_is_scipys() -> None:
    rng = np.random.default_rng(5)
    labels, p = rng.integers(0, 2, 150), rng.dirichlet([1, 1], 150)
    weights = bootstrap.resample_groups(np.arange(150), 4000, np.random.default_rng(0))
    draws = accuracy(labels, p, weights)
    found = np.quantile(draws, [0.05, 0.95])
    right = (p.argmax(1) == labels).astype(float)
    scipys = stats.bootstrap((right,), np.mean, n_resamples=4000, confidence_level=0.9, method="percentile", rng=1)
    expected = scipys.confidence_interval
    assert found == pytest.approx([expected.low, expected.high], abs=0.012)
    assert draws.std() == pytest.approx(np.sqrt(right.mean() * (1 - right.mean()) / 150), rel=0.05)  # closed form


def test_copies_of_an_image_narrow_no_interval() -> None:
    labels, p, _ = _draw(7, images=80)
    draws = []
    for copies in (1, 4):
        groups = np.repeat(np.arange(80), copies)
        weights = bootstrap.resample_groups(groups, 300, np.random.default_rng(0))
        draws.append(balanced_accuracy(labels.repeat(copies), p.repeat(copies, axis=0), weights))
    np.testing.assert_allclose(draws[0], draws[1], rtol=1e-6)


def test_each_stratum_keeps_its_lesions() -> None:
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    groups = np.arange(60) // 2  # 15, 10 and 5 lesions
    strata = bootstrap.strata_of(groups, labels)
    weights = bootstrap.resample_groups(groups, 200, np.random.default_rng(0), strata)
    assert len(set(strata)) == 3
    for k, images in enumerate((30, 20, 10)):
        assert (weights[labels == k].sum(0) == images).all()
        assert weights[labels == k].std(1).min() > 0


def test_a_class_of_few_lesions_is_drawn_with_the_next_rarest() -> None:
    labels = np.repeat([0, 1, 2, 3], [40, 3, 9, 2])
    strata = bootstrap.strata_of(np.arange(54), labels)
    of_class = [set(strata[labels == k]) for k in range(4)]
    assert of_class[3] == of_class[1] != of_class[2] != of_class[0]
    assert bootstrap.strata_of(np.arange(3), np.array([0, 1, 2])).tolist() == [0, 0, 0]


def test_a_patient_with_several_classes_is_in_the_stratum_of_the_rarest() -> None:
    labels = np.array([0] * 20 + [1] * 8 + [0])
    groups = np.array([*range(28), 27])  # the last patient has an image of either class
    strata = bootstrap.strata_of(groups, labels)
    assert strata[27] == strata[28] == strata[20] != strata[0]


def test_leaving_out_a_group_leaves_out_its_images() -> None:
    weights = bootstrap.omit_each_group(np.array(["b", "a", "b", "c"]))
    assert weights.tolist() == [[1, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0]]
