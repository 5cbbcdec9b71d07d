"""Risk, coverage and conformal sets against naive loops, closed forms and the promise in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import betabinom, binomtest

from components.clinical import abstention
from components.statistics.resampled import Said
from components.statistics.weighting import unit_weights
from tests.unit.clinical.simulation import calibrated, resampled


def _naive(sureness: np.ndarray, wrong: np.ndarray) -> float:
    """The mean, over images, of the risk when all images at least as sure are answered."""
    return float(np.mean([wrong[sureness >= own].mean() for own in sureness]))


def _area(sureness: np.ndarray, wrong: np.ndarray) -> float:
    return float(abstention.area(*abstention.risk_and_coverage(sureness, wrong, unit_weights(len(wrong))))[0])


@pytest.mark.parametrize("digits", [8, 1])
def test_area_is_the_naive_mean_ties_included(digits: int) -> None:
    rng = np.random.default_rng(0)
    sureness, wrong = rng.random(150).round(digits), rng.random(150) < 0.3
    assert _area(sureness, wrong) == pytest.approx(_naive(sureness, wrong))


def test_area_in_a_resample_is_that_of_repeated_images() -> None:
    labels, p = calibrated(90, np.random.default_rng(1))
    sample = resampled(labels, np.arange(90) // 3, resamples=12)
    found = abstention.take_turns(sample, [p.round(1)]).areas[0]
    for column in range(13):
        drawn = np.repeat(np.arange(90), sample.weights[:, column].astype(int))
        sureness, right = p.round(1)[drawn].max(1), p.round(1)[drawn].argmax(1) == labels[drawn]
        assert found[column] == pytest.approx(_naive(sureness, ~right))


def test_a_model_that_is_equally_sure_of_all_has_its_error_rate_for_area() -> None:
    wrong = np.arange(40) < 10
    assert _area(np.full(40, 0.7), wrong) == 0.25


def test_the_best_area_is_the_closed_form() -> None:
    """r + (1 - r) ln(1 - r) for many images (Geifman, Uziel & El-Yaniv 2019, eq. 4)."""
    wrong = np.arange(20_000) < 5000
    assert abstention.best_area(wrong) == pytest.approx(0.25 + 0.75 * np.log(0.75), abs=1e-3)
    assert abstention.best_area(wrong) <= _area(np.random.default_rng(0).random(20_000), wrong)
    assert abstention.best_area(np.zeros(5, bool)) == 0


def test_risk_at_a_coverage_is_that_of_so_many_images() -> None:
    rng = np.random.default_rng(2)
    sureness, wrong = rng.random(200), rng.random(200) < 0.4
    curve = abstention.risk_and_coverage(sureness, wrong, unit_weights(200))
    order = np.argsort(-sureness)
    found = abstention.risk_at(*curve, np.array([0.1, 0.5, 1.0]))[:, 0]
    assert found == pytest.approx([wrong[order[:20]].mean(), wrong[order[:100]].mean(), wrong.mean()])


def test_val_chooses_the_threshold_and_test_shows_what_it_answers() -> None:
    rng = np.random.default_rng(3)
    val, test = calibrated(20_000, rng), calibrated(20_000, rng)
    sample = resampled(test[0], np.arange(20_000) // 100, resamples=30)
    found = abstention.select(sample, [val[1]], [test[1]], abstention.take_turns(sample, [test[1]]), 0.8)
    line = np.quantile(val[1].max(1), 0.2)
    answered = test[1].max(1) >= line
    assert found.coverage.mean == pytest.approx(0.8, abs=0.01)
    assert found.risk.mean == pytest.approx((1 - test[1].max(1))[answered].mean(), abs=0.01)  # it knows its errors
    assert found.risk.mean < found.risks[-1].mean
    assert found.best_area < found.area.mean < found.risks[-1].mean


def test_the_limit_is_the_split_conformal_quantile() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1, 20) / 20)  # 19 scores
    assert abstention.limit(scores, 0.1) == 18 / 20  # the 18th: 20 x 0.9
    assert abstention.limit(scores, 0.05) == 19 / 20
    assert abstention.limit(scores, 0.04) == np.inf  # 19 scores cannot promise 96 %


def test_one_image_a_lesion_stands_for_it() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    seen = [abstention.one_a_group(groups, np.random.default_rng(seed)) for seed in range(60)]
    assert all(sorted(groups[each]) == ["a", "b", "c"] for each in seen)
    assert set(np.concatenate(seen)) == set(range(6))  # each image may be the one


def _coverage(by_class: bool, rng: np.random.Generator, lesions: int = 60) -> tuple[float, float]:
    """Coverage of all, and of class 0, on many new lesions; a lesion's images are alike."""
    labels, p = calibrated(lesions, rng)
    labels, p = labels.repeat(3), np.repeat(p, 3, axis=0)
    chosen = abstention.one_a_group(np.repeat(np.arange(lesions), 3), rng)
    bound = abstention.limits(labels[chosen], p[chosen], 0.2, by_class)
    new_labels, new_p = calibrated(2000, rng)
    held = (1 - new_p <= bound)[np.arange(2000), new_labels]
    return held.mean(), held[new_labels == 0].mean()


def test_sets_hold_the_truth_as_promised_on_average_over_val() -> None:
    rng = np.random.default_rng(0)
    found = np.array([_coverage(False, rng)[0] for _ in range(400)])
    error = found.std() / np.sqrt(400)
    assert 0.8 - 3 * error < found.mean() < 0.8 + 1 / 61 + 3 * error  # (Lei et al. 2018, theorem 2.2)
    spread = betabinom(2000, 49, 12).std() / 2000  # 49 = ceil(61 x 0.8), 12 = 61 - 49
    assert found.std() == pytest.approx(spread, rel=0.15)


def test_class_by_class_each_class_is_held_as_promised() -> None:
    rng = np.random.default_rng(1)
    found = np.array([_coverage(True, rng)[1] for _ in range(300)])
    assert 0.8 - 3 * found.std() / np.sqrt(300) < found.mean() < 0.8 + 0.08


def test_coverage_on_test_has_the_exact_intervals_width_and_counts_lesions() -> None:
    rng = np.random.default_rng(2)
    val, test = calibrated(300, rng), calibrated(400, rng)
    sample = resampled(test[0].repeat(2), np.repeat(np.arange(400), 2), resamples=2000)
    found = abstention.conformal(
        sample, Said(val[0], np.arange(300), [val[1]]), [test[1].repeat(2, axis=0)], ("a", "b", "c"), 0.1, False, rng
    )
    count = round(found.coverage.mean * 400)
    exact = binomtest(count, 400).proportion_ci(0.95, method="exact")  # Clopper & Pearson, of lesions
    assert [found.coverage.low, found.coverage.high] == pytest.approx([exact.low, exact.high], abs=0.008)
    assert found.calibration == 300
    assert found.kept
    sets = 1 - test[1] <= abstention.limit(1 - val[1][np.arange(300), val[0]], 0.1)
    assert found.size.mean == pytest.approx(sets.sum(1).mean())
    assert found.single.mean == pytest.approx((sets.sum(1) == 1).mean())
    assert found.by_class["b"].mean == pytest.approx(sets[test[0] == 1, 1].mean())


def test_a_lesion_of_many_images_has_one_vote() -> None:
    labels = np.zeros(12, int)
    p = np.array([[0.9, 0.1]] * 10 + [[0.2, 0.8]] * 2)  # ten images of one lesion held, two lesions not
    groups = np.array([0] * 10 + [1, 2])
    sample = resampled(labels, groups, resamples=20)
    val = Said(np.zeros(30, int), np.arange(30), [np.full((30, 2), [0.7, 0.3])])
    found = abstention.conformal(sample, val, [p], ("a", "b"), 0.1, False, np.random.default_rng(0))
    assert found.coverage.mean == pytest.approx(1 / 3)


def test_a_class_of_which_val_knows_too_few_is_never_ruled_out() -> None:
    labels, p = calibrated(60, np.random.default_rng(0))
    labels[labels == 2] = 1
    labels[:4] = 2  # four lesions cannot promise 90 %
    bound = abstention.limits(labels, p, 0.1, by_class=True)
    assert np.isinf(bound).tolist() == [False, False, True]


@pytest.mark.parametrize("by_class", [False, True])
def test_a_true_promise_is_hardly_ever_called_broken(by_class: bool) -> None:
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(200):
        (val_labels, val), (labels, p) = calibrated(120, rng), calibrated(150, rng)
        said = Said(val_labels, np.arange(120), [val])
        found = abstention.conformal(resampled(labels, resamples=10), said, [p], ("a", "b", "c"), 0.1, by_class, rng)
        broken += not found.kept
    assert broken / 200 < 0.025 + 2.5 * np.sqrt(0.025 * 0.975 / 200)


def test_a_promise_that_test_images_unlike_val_break_is_called_broken() -> None:
    rng = np.random.default_rng(0)
    (val_labels, val), (labels, p) = calibrated(300, rng), calibrated(300, rng)
    said = Said(val_labels, np.arange(300), [val])
    other = p[:, [1, 2, 0]]  # new images of which the model knows nothing
    for by_class in (False, True):
        found = abstention.conformal(
            resampled(labels, resamples=10), said, [other], ("a", "b", "c"), 0.1, by_class, rng
        )
        assert not found.kept


def test_the_chance_of_so_few_counts_the_luck_of_val() -> None:
    """Nine val lesions promise 80 % with the eighth score: on average 8 of 10 test lesions are held."""
    chances = [abstention.chance_of_so_few(count / 10, 10, 9, 0.2) for count in range(11)]
    np.testing.assert_allclose(np.diff(chances, prepend=0), betabinom(10, 8, 2).pmf(range(11)), atol=1e-12)
    assert abstention.chance_of_so_few(0.0, 10, 3, 0.1) == 1.0  # three lesions rule nothing out
