"""Tests between arms against scipy, naive loops, closed forms, and values of other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from components.statistics import significance
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.significance import (
    AdjustedP,
    auroc_terms,
    clustered_mcnemar,
    delong,
    holm,
    holm_over_all,
    mcnemar,
    permutation_test,
)


def _scores(seed: int, images: int = 40, classes: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and two models' probabilities with ties, of images that are equally hard for both."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    hard = rng.normal(size=(images, classes))
    models = [np.exp(1.0 * np.eye(classes)[labels] + hard + rng.normal(size=hard.shape)).round(1) + 0.1 for _ in "ab"]
    return labels, *(odds / odds.sum(1, keepdims=True) for odds in models)


def test_balanced_accuracy_is_the_sum_of_its_shares() -> None:
    labels, p, _ = _scores(0, 31, 3)
    assert significance.balanced_accuracy_terms(labels, p).sum() == pytest.approx(balanced_accuracy(labels, p))


def test_sums_by_group_are_pandas_like() -> None:
    groups, values = np.array(["b", "a", "b", "c"]), np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    assert significance.sum_by_group(values, groups).tolist() == [[2, 4, 4], [6, 12, 8]]
    assert significance.sum_by_group(values[0], groups).tolist() == [2, 4, 4]


@pytest.mark.parametrize("seed", range(4))
def test_few_groups_give_scipys_exact_permutation_test(seed: int) -> None:
    ours, theirs = np.random.default_rng(seed).integers(0, 4, (2, 9)) / 4  # ties
    expected = stats.permutation_test(
        (ours, theirs), lambda a, b: abs(np.sum(a - b)), permutation_type="samples", alternative="greater"
    )
    assert permutation_test(ours - theirs, 2**9, np.random.default_rng(0)) == pytest.approx(expected.pvalue)


def test_many_groups_give_scipys_permutation_test() -> None:
    differences = np.random.default_rng(1).normal(0.25, 1, 60)
    expected = stats.permutation_test(
        (differences, np.zeros(60)), lambda a, b: np.mean(a - b, axis=-1), permutation_type="samples", vectorized=False,
        n_resamples=9999, rng=np.random.default_rng(0),
    )  # fmt: skip
    assert permutation_test(differences, 9999, np.random.default_rng(1)) == pytest.approx(expected.pvalue, abs=0.015)


@pytest.mark.parametrize("seed", range(20))
def test_equal_arms_whose_seeds_are_added_in_another_order_have_a_p_of_one(seed: int) -> None:
    """The means of the same three models in two orders differ by rounding, which is no difference."""
    rng = np.random.default_rng(seed)
    labels, groups = np.arange(90) % 7, np.arange(90) // 2
    models = rng.dirichlet(np.ones(7), (3, 90))
    terms = np.stack([significance.balanced_accuracy_terms(labels, p) for p in models])
    ours, theirs = (terms[0] + terms[1] + terms[2]) / 3, (terms[2] / 3 + terms[1] / 3) + terms[0] / 3
    difference = significance.sum_by_group(ours - theirs, groups)
    assert permutation_test(difference, 999, rng) == 1
    assert permutation_test(difference + 1e-17, 999, rng) == 1
    assert delong(labels, list(models), list(models[[2, 0, 1]]), groups).p == 1


def test_arms_that_never_differ_have_a_p_of_one() -> None:
    assert permutation_test(np.zeros(50), 1000, np.random.default_rng(0)) == 1
    labels, p, _ = _scores(0)
    assert delong(labels, [p], [p], np.arange(40)).p == 1
    assert mcnemar(p[:, 0] > 0.5, p[:, 0] > 0.5).p == 1
    assert clustered_mcnemar(p[:, 0] > 0.5, p[:, 0] > 0.5, np.arange(40)).p == 1


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_binomial_test_of_what_differs(b: int, c: int) -> None:
    ours = np.repeat([True, False, True, False], [b, c, 5, 5])
    theirs = np.repeat([False, True, True, False], [b, c, 5, 5])
    found = mcnemar(ours, theirs)
    assert (found.ours, found.theirs) == (b, c)
    assert found.p == pytest.approx(stats.binomtest(b, b + c).pvalue if b + c else 1.0)


@pytest.mark.parametrize(("b", "c", "p"), [(10, 3, 0.092285156250000), (25, 8, 0.004551384132355452)])
def test_mcnemar_is_statsmodels(b: int, c: int, p: float) -> None:
    """statsmodels 0.15.0: mcnemar([[40, b], [c, 20]], exact=True).pvalue."""
    ours, theirs = np.repeat([True, False], [b, c]), np.repeat([False, True], [b, c])
    assert mcnemar(ours, theirs).p == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize(("b", "c"), [(10, 3), (25, 8), (7, 7)])
def test_clustered_mcnemar_of_single_images_is_mcnemars_chi_square(b: int, c: int) -> None:
    ours, theirs = np.repeat([True, False], [b, c]), np.repeat([False, True], [b, c])
    expected = stats.chi2.sf((b - c) ** 2 / (b + c), 1)
    assert clustered_mcnemar(ours, theirs, np.arange(b + c)).p == pytest.approx(expected)


def test_copies_of_images_and_seeds_do_not_change_the_test() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(80) < 0.7, rng.random(80) < 0.5
    once = clustered_mcnemar(ours, theirs, np.arange(80))
    copied = clustered_mcnemar(
        np.tile(ours.repeat(3), (2, 1)), np.tile(theirs.repeat(3), (2, 1)), np.arange(80).repeat(3)
    )
    assert copied.p == pytest.approx(once.p)
    assert copied.ours == 3 * once.ours  # images, mean over seeds


def _naive_delong(positive: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Difference of areas and its variance by DeLong et al. 1988, equations 3 to 6, in loops over pairs."""

    def wins(scores: np.ndarray) -> np.ndarray:
        pairs = product(scores[positive], scores[~positive])
        return np.array([float(x > y) + 0.5 * float(x == y) for x, y in pairs]).reshape(positive.sum(), -1)

    difference = wins(ours) - wins(theirs)  # (m, n)
    by_positive, by_negative = difference.mean(1), difference.mean(0)
    return difference.mean(), by_positive.var(ddof=1) / len(by_positive) + by_negative.var(ddof=1) / len(by_negative)


@pytest.mark.parametrize("seed", range(5))
def test_delong_of_single_images_is_delongs(seed: int) -> None:
    labels, ours, theirs = _scores(seed)
    found = delong(labels, [ours], [theirs], np.arange(40))
    difference, variance = _naive_delong(labels == 1, ours[:, 1], theirs[:, 1])
    assert found.difference == pytest.approx(difference)
    assert found.error == pytest.approx(np.sqrt(variance))
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))


@pytest.mark.parametrize("seed", range(3))
def test_areas_are_scikit_learns(seed: int) -> None:
    labels, p, _ = _scores(seed, 60, 4)
    areas, terms = auroc_terms(labels, p, np.arange(60))
    assert areas == pytest.approx([roc_auc_score(labels == k, p[:, k]) for k in range(4)])
    assert terms.shape == (4, 60)
    np.testing.assert_allclose(terms.sum(1), 0, atol=0.05)


def _naive_obuchowski(positive: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> float:
    """Variance of one area in loops over clusters (Obuchowski 1997, eqs. 3 to 6)."""
    m, n = positive.sum(), (~positive).sum()
    win = np.array([[float(x > y) + 0.5 * float(x == y) for y in scores[~positive]] for x in scores[positive]])
    area, names = win.mean(), np.unique(groups)
    tens = [(win.mean(1) - area)[groups[positive] == name].sum() for name in names]
    ones = [(win.mean(0) - area)[groups[~positive] == name].sum() for name in names]
    with_pos, with_neg = len(set(groups[positive])), len(set(groups[~positive]))
    s10 = with_pos / ((with_pos - 1) * m) * np.square(tens).sum()
    s01 = with_neg / ((with_neg - 1) * n) * np.square(ones).sum()
    s11 = len(names) / (len(names) - 1) * np.multiply(tens, ones).sum()
    return s10 / m + s01 / n + 2 * s11 / (m * n)


@pytest.mark.parametrize("mixed", [False, True])
def test_delong_of_lesions_is_obuchowskis(mixed: bool) -> None:
    labels, p, _ = _scores(7, 240)
    groups = np.arange(240) // 4 if mixed else np.arange(240) // 6 * 2 + labels  # both classes in a group, or one
    _, terms = auroc_terms(labels, p, groups)
    expected = _naive_obuchowski(labels == 1, p[:, 1], groups)
    assert (terms[1] ** 2).sum() == pytest.approx(expected, rel=0.005 if mixed else 1e-9)


def test_copies_of_images_do_not_change_the_error_of_areas() -> None:
    labels, ours, theirs = _scores(3, 60, 3)
    once = delong(labels, [ours], [theirs], np.arange(60))
    many = delong(labels.repeat(3), [ours.repeat(3, axis=0)], [theirs.repeat(3, axis=0)], np.arange(60).repeat(3))
    assert (many.difference, many.error) == pytest.approx((once.difference, once.error))


def test_a_class_that_cannot_be_ranked_is_left_out() -> None:
    labels, ours, theirs = _scores(2, 60, 3)
    wide = [np.hstack([p * 0.9, np.full((60, 1), 0.1)]) for p in (ours, theirs)]
    assert delong(labels, [wide[0]], [wide[1]], np.arange(60)) == delong(labels, [ours], [theirs], np.arange(60))
    alone = delong(np.zeros(60, int), [ours], [theirs], np.arange(60))
    assert np.isnan(alone.difference)  # as macro_auroc has it
    assert alone.p == 1


def test_delong_of_equal_arms_alarms_at_its_level() -> None:
    rng, alarms = np.random.default_rng(0), 0
    labels, groups = np.arange(120) // 2 % 3, np.arange(120) // 2
    for _ in range(400):
        hard = rng.normal(size=(60, 3))[groups]
        seeds = [
            np.eye(3)[labels] + hard + rng.normal(size=(60, 3))[groups] + rng.normal(size=(120, 3)) for _ in range(4)
        ]
        alarms += delong(labels, seeds[:2], seeds[2:], groups).p <= 0.05
    assert 0.025 <= alarms / 400 <= 0.085


def test_holm_is_statsmodels() -> None:
    """statsmodels 0.15.0: multipletests([0.01, 0.04, 0.03, 0.005, 0.6], method="holm")[1]."""
    assert holm([0.01, 0.04, 0.03, 0.005, 0.6]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.6])
    assert holm([]) == []
    assert holm([0.3]) == [0.3]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.001, 0.2))
def test_holm_decides_as_the_step_down_rule(p: list[float], alpha: float) -> None:
    rejected, remaining = set(), sorted(range(len(p)), key=lambda place: p[place])
    while remaining and p[remaining[0]] * len(remaining) <= alpha:  # Holm 1979, literally
        rejected.add(remaining.pop(0))
    assert {place for place, value in enumerate(holm(p)) if value <= alpha} == rejected


EXCLUSIVE = {"differs": "accuracy", "above_margin": "accuracy", "below_margin": "accuracy"}


def _closed(found: list[dict[str, float]], place: int, name: str) -> float:
    """The closed test by its definition: the largest Bonferroni p of a set of hypotheses that can be true together."""
    slots: list[list[float | None]] = []
    for number, each in enumerate(found):
        for group in ({"differs", "above_margin", "below_margin"}, {"gap"}):
            if number == place and name in group:
                slots.append([each[name]])
            else:
                slots.append([None, *(each[key] for key in sorted(group))])
    worst = 0.0
    for chosen in product(*slots):
        members = [p for p in chosen if p is not None]
        worst = max(worst, min(1.0, len(members) * min(members)))
    return worst


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0.0001, 1)] * 4), min_size=1, max_size=2))
def test_holm_over_all_is_the_closed_test_of_hypotheses_that_exclude_each_other(rows: list[tuple[float, ...]]) -> None:
    found = [dict(zip(("differs", "above_margin", "below_margin", "gap"), row, strict=True)) for row in rows]
    for place, each in enumerate(holm_over_all(found, EXCLUSIVE)):
        for name, tested in each.items():
            assert tested.p == found[place][name]
            assert tested.holm == pytest.approx(_closed(found, place, name))


@pytest.mark.parametrize(("true_difference", "related"), [(0.0, 0.0), (0.0, 0.9), (0.02, 0.5), (-0.02, 0.0)])
def test_any_false_claim_is_made_in_at_most_5_percent_of_studies(true_difference: float, related: float) -> None:
    """Four comparisons of normal differences, margin 0.02: superior, inferior, not worse, not better, gap differs.

    The gaps are equal in truth. `related` is the correlation of the estimates of a study, which share a reference.
    """
    rng, studies, comparisons, margin, error = np.random.default_rng(3), 1500, 4, 0.02, 0.007
    shared = rng.standard_normal((studies, 1, 2))
    own = rng.standard_normal((studies, comparisons, 2))
    noise = np.sqrt(related) * shared + np.sqrt(1 - related) * own  # accuracy, gap
    accuracy = true_difference + error * noise[..., 0]
    wrong = 0
    for estimates, gaps in zip(accuracy, noise[..., 1], strict=True):
        tests = holm_over_all([_p_values(x, g, margin, error) for x, g in zip(estimates, gaps, strict=True)], EXCLUSIVE)
        wrong += any(_false_claim(x, each, true_difference, margin) for x, each in zip(estimates, tests, strict=True))
    assert wrong / studies <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)


def _p_values(difference: float, gap: float, margin: float, error: float) -> dict[str, float]:
    def two_sided(z: float) -> float:
        return float(2 * norm.sf(abs(z)))

    return {
        "differs": two_sided(difference / error),
        "above_margin": two_sided((difference + margin) / error) if difference > -margin else 1.0,
        "below_margin": two_sided((difference - margin) / error) if difference < margin else 1.0,
        "gap": two_sided(gap),
    }


def _false_claim(found: float, tests: Mapping[str, AdjustedP], truth: float, margin: float) -> bool:
    claims = {name for name, each in tests.items() if each.holm <= 0.05}
    superior, inferior = "differs" in claims and found > 0, "differs" in claims and found < 0
    return (
        (superior and truth <= 0)
        or (inferior and truth >= 0)
        or ("above_margin" in claims and truth <= -margin)
        or ("below_margin" in claims and truth >= margin)
        or "gap" in claims
    )
