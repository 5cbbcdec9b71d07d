"""Conformal sets against closed forms, exact intervals and their promise in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import betabinom, binomtest

from components.clinical import conformal
from components.statistics.resampled import SeedPredictions
from tests.unit.clinical.simulation import calibrated, resampled


def test_the_limit_is_the_split_conformal_quantile() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1, 20) / 20)  # 19 scores
    assert conformal.limit(scores, 0.1) == 18 / 20  # the 18th: 20 x 0.9
    assert conformal.limit(scores, 0.05) == 19 / 20
    assert conformal.limit(scores, 0.04) == np.inf  # 19 scores cannot promise 96 %


def test_one_random_image_represents_a_lesion() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    seen = [conformal.one_a_group(groups, np.random.default_rng(seed)) for seed in range(60)]
    assert all(sorted(groups[each]) == ["a", "b", "c"] for each in seen)
    assert set(np.concatenate(seen)) == set(range(6))  # each image can be drawn


def _coverage(by_class: bool, rng: np.random.Generator, lesions: int = 60) -> tuple[float, float]:
    """Coverage of all, and of class 0, on many new lesions; a lesion's images are equal."""
    labels, p = calibrated(lesions, rng)
    labels, p = labels.repeat(3), np.repeat(p, 3, axis=0)
    chosen = conformal.one_a_group(np.repeat(np.arange(lesions), 3), rng)
    bound = conformal.limits(labels[chosen], p[chosen], 0.2, by_class)
    new_labels, new_p = calibrated(2000, rng)
    covered = (1 - new_p <= bound)[np.arange(2000), new_labels]
    return covered.mean(), covered[new_labels == 0].mean()


def test_sets_hold_the_true_class_as_promised_on_average_over_val() -> None:
    rng = np.random.default_rng(0)
    found = np.array([_coverage(False, rng)[0] for _ in range(400)])
    error = found.std() / np.sqrt(400)
    assert 0.8 - 3 * error < found.mean() < 0.8 + 1 / 61 + 3 * error  # (Lei et al. 2018, theorem 2.2)
    spread = betabinom(2000, 49, 12).std() / 2000  # 49 = ceil(61 x 0.8), 12 = 61 - 49
    assert found.std() == pytest.approx(spread, rel=0.15)


def test_by_class_each_class_is_covered_as_promised() -> None:
    rng = np.random.default_rng(1)
    found = np.array([_coverage(True, rng)[1] for _ in range(300)])
    assert 0.8 - 3 * found.std() / np.sqrt(300) < found.mean() < 0.8 + 0.08


def test_coverage_on_test_has_the_exact_intervals_width_and_counts_lesions() -> None:
    rng = np.random.default_rng(2)
    val, test = calibrated(300, rng), calibrated(400, rng)
    sample = resampled(test[0].repeat(2), np.repeat(np.arange(400), 2), resamples=2000)
    found = conformal.conformal(
        sample,
        SeedPredictions(val[0], np.arange(300), [val[1]]),
        [test[1].repeat(2, axis=0)],
        classes=("a", "b", "c"),
        miss=0.1,
        by_class=False,
        rng=rng,
    )
    count = round(found.coverage.mean * 400)
    exact = binomtest(count, 400).proportion_ci(0.95, method="exact")  # Clopper & Pearson, of lesions
    assert [found.coverage.low, found.coverage.high] == pytest.approx([exact.low, exact.high], abs=0.008)
    assert found.calibration == 300
    assert not found.refuted
    sets = 1 - test[1] <= conformal.limit(1 - val[1][np.arange(300), val[0]], 0.1)
    assert found.size.mean == pytest.approx(sets.sum(1).mean())
    assert found.single.mean == pytest.approx((sets.sum(1) == 1).mean())
    assert found.by_class["b"].mean == pytest.approx(sets[test[0] == 1, 1].mean())


def test_a_lesion_of_many_images_counts_once() -> None:
    labels = np.zeros(12, int)
    p = np.array([[0.9, 0.1]] * 10 + [[0.2, 0.8]] * 2)  # ten images of one lesion covered, two lesions not
    groups = np.array([0] * 10 + [1, 2])
    sample = resampled(labels, groups, resamples=20)
    val = SeedPredictions(np.zeros(30, int), np.arange(30), [np.full((30, 2), [0.7, 0.3])])
    found = conformal.conformal(
        sample, val, [p], classes=("a", "b"), miss=0.1, by_class=False, rng=np.random.default_rng(0)
    )
    assert found.coverage.mean == pytest.approx(1 / 3)


def test_a_class_with_too_few_val_lesions_is_never_excluded() -> None:
    labels, p = calibrated(60, np.random.default_rng(0))
    labels[labels == 2] = 1
    labels[:4] = 2  # four lesions cannot promise 90 %
    bound = conformal.limits(labels, p, 0.1, by_class=True)
    assert np.isinf(bound).tolist() == [False, False, True]


@pytest.mark.parametrize("by_class", [False, True])
def test_a_true_promise_is_rarely_called_broken(by_class: bool) -> None:
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(200):
        (val_labels, val), (labels, p) = calibrated(120, rng), calibrated(150, rng)
        predicted = SeedPredictions(val_labels, np.arange(120), [val])
        found = conformal.conformal(
            resampled(labels, resamples=10),
            predicted,
            [p],
            classes=("a", "b", "c"),
            miss=0.1,
            by_class=by_class,
            rng=rng,
        )
        broken += found.refuted
    assert broken / 200 < 0.025 + 2.5 * np.sqrt(0.025 * 0.975 / 200)


def test_a_promise_that_does_not_hold_on_test_is_called_broken() -> None:
    rng = np.random.default_rng(0)
    (val_labels, val), (labels, p) = calibrated(300, rng), calibrated(300, rng)
    predicted = SeedPredictions(val_labels, np.arange(300), [val])
    other = p[:, [1, 2, 0]]  # new images with wrong predictions
    for by_class in (False, True):
        found = conformal.conformal(
            resampled(labels, resamples=10),
            predicted,
            [other],
            classes=("a", "b", "c"),
            miss=0.1,
            by_class=by_class,
            rng=rng,
        )
        assert found.refuted


def test_the_chance_of_so_few_includes_the_variance_of_val() -> None:
    """Nine val lesions promise 80 % with the eighth score: on average 8 of 10 test lesions are covered."""
    chances = [conformal.chance_of_so_few(count / 10, 10, 9, 0.2) for count in range(11)]
    np.testing.assert_allclose(np.diff(chances, prepend=0), betabinom(10, 8, 2).pmf(range(11)), atol=1e-12)
    assert conformal.chance_of_so_few(0.0, 10, 3, 0.1) == 1.0  # three lesions exclude nothing
