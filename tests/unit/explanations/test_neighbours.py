"""Nearest train lesions agree with scikit-learn's votes and with a naive search."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from components.explanations.neighbours import class_agreement, nearest_lesions, standardise
from components.statistics.intervals import Interval
from components.statistics.runs import Images


def agreement(images: Images, share: np.ndarray) -> Interval:
    return class_agreement(images, [share], resamples=200, confidence=0.95, seed=0)


def test_agreement_is_scikit_learns_vote_share_where_lesions_have_one_image() -> None:
    rng = np.random.default_rng(0)
    train, labels = rng.normal(size=(80, 6)), rng.integers(0, 3, 80)
    test, truth = rng.normal(size=(30, 6)), np.r_[0, 1, 2, rng.integers(0, 3, 27)]
    near, distances = nearest_lesions(train, np.arange(80).astype(str), test, 5)
    shares = (labels[near] == truth[:, None]).mean(1)
    votes = KNeighborsClassifier(5, metric="cosine").fit(train, labels).predict_proba(test)[np.arange(30), truth]
    assert shares == pytest.approx(votes)
    assert (np.diff(distances) >= 0).all()
    found = agreement(Images(np.arange(30).astype(str), truth, np.arange(30).astype(str)), shares)
    assert found.mean == pytest.approx(np.mean([shares[truth == k].mean() for k in range(3)]))
    assert found.low < found.mean < found.high


def test_of_a_lesion_with_many_images_the_nearest_alone_counts() -> None:
    rng = np.random.default_rng(1)
    train = np.concatenate([np.eye(4)[0] + 0.01 * rng.normal(size=(50, 4)), np.eye(4)[1:3], np.eye(4)[:1] + 0.5])
    groups = np.array(["many"] * 50 + ["b", "c", "d"])
    test = np.eye(4)[:1]
    near, distances = nearest_lesions(train, groups, test, 3)
    cosines = train @ test[0] / np.linalg.norm(train, axis=1)
    naive = sorted((1 - max(cosines[groups == name]), name) for name in set(groups))[:3]
    assert list(groups[near[0]]) == [name for _, name in naive]
    assert distances[0] == pytest.approx([distance for distance, _ in naive], abs=1e-9)


def test_more_neighbours_than_lesions_are_all_lesions() -> None:
    near, _ = nearest_lesions(np.eye(3), np.array(["a", "a", "b"]), np.eye(3)[:1], 9)
    assert near.shape == (1, 2)


def test_constant_features_become_zero() -> None:
    train = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert standardise(train, train).tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_planted_clusters_agree_and_noise_agrees_by_chance_however_frequent_a_class_is() -> None:
    rng = np.random.default_rng(2)
    labels, truth = rng.choice(3, 600, p=[0.8, 0.1, 0.1]), rng.choice(3, 300, p=[0.8, 0.1, 0.1])
    images = Images(np.arange(300).astype(str), truth, np.arange(300).astype(str))
    found = []
    for signal in (4.0, 0.0):
        train, test = (signal * np.eye(8)[each] + rng.normal(size=(len(each), 8)) for each in (labels, truth))
        near, _ = nearest_lesions(train, np.arange(600).astype(str), test, 5)
        found.append(agreement(images, (labels[near] == truth[:, None]).mean(1)))
    assert found[0].low > 0.9
    assert found[1].low < 1 / 3 < found[1].high
