"""The overfitting gap over folds: by hand, with the comparison's credit, with train lesions in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from components.base.errors import DataError
from components.base.log import SilentLog
from components.comparison.outcomes import OUTCOMES, AccuracyRegion, GapRegion
from components.cross_validation.analysis import CrossValidation, PooledDifference, pool_folds
from components.cross_validation.folds import Fold
from components.cross_validation.sentences import summary
from components.statistics.corrected_t import fold_mean
from tests.unit.cross_validation.simulated_folds import labelled, question, simulate_folds

RIGHT = {"vae": 0.8, "imagenet": 0.78}
GAP = {"vae": 0.02, "imagenet": 0.10}


def pool(folds: list[Fold], **changes: object) -> CrossValidation:
    return pool_folds(folds, question(**changes), labelled(folds), SilentLog())


def only(result: CrossValidation) -> PooledDifference:
    (found,) = result.differences
    return found


def test_the_gap_is_that_of_the_last_epoch_that_all_runs_of_all_folds_have() -> None:
    folds = simulate_folds(RIGHT, gap=GAP)
    lengths = {len(run.curve) for fold in folds for run in fold.runs}
    assert lengths == {4, 5, 6}
    by_fold = [
        np.mean([
            next(run.curve["gap/loss"][3] for run in fold.runs if (run.arm, run.seed) == ("vae", seed))
            - next(run.curve["gap/loss"][3] for run in fold.runs if (run.arm, run.seed) == ("imagenet", seed))
            for seed in (0, 1)
        ])
        for fold in folds
    ]  # fmt: skip
    found = only(pool(folds))
    assert found.by_fold["gap/loss"] == pytest.approx(by_fold)
    reach = student.ppf(0.975, 4) * np.std(by_fold, ddof=1) * np.sqrt(1 / 5 + 1 / 3)
    interval = found.mean["gap/loss"]
    assert (interval.mean, interval.low, interval.high) == pytest.approx(
        (np.mean(by_fold), np.mean(by_fold) - reach, np.mean(by_fold) + reach)
    )
    statistic = ttest_1samp(by_fold, 0).statistic * np.sqrt((1 / 5) / (1 / 5 + 1 / 3))
    assert found.tests["gap"].p == pytest.approx(2 * student.sf(abs(statistic), 4))


@pytest.mark.parametrize(
    ("right", "summary_of_vae", "region"),
    [
        (RIGHT, {}, GapRegion.SMALLER),
        (RIGHT, {"alarms": ["dead decoder: 3 %"]}, GapRegion.SMALLER_UNLEARNED),
        ({"vae": 0.33, "imagenet": 0.78}, {}, GapRegion.SMALLER_UNLEARNED),  # guesses one of three classes
        ({"vae": 0.7, "imagenet": 0.78, "colour": 0.8}, {}, GapRegion.SMALLER_UNLEARNED),  # below a baseline
    ],
)
def test_a_smaller_gap_gets_credit_by_the_rule_of_the_comparison(
    right: dict[str, float], summary_of_vae: dict, region: GapRegion
) -> None:
    folds = simulate_folds(right, gap=GAP, **summary_of_vae)
    for fold in folds:
        for run in fold.runs:
            run.summary["baseline"] = run.arm == "colour"
    found = pool(folds, arms=tuple(right))
    assert found.differences[0].outcome.gap is region
    assert region.value in summary(found)[0]


def test_exchanged_arms_have_the_opposite_gap() -> None:
    found = only(pool(simulate_folds(RIGHT, gap=GAP), reference="vae"))
    assert found.outcome.gap is GapRegion.LARGER
    assert found.mean["gap/loss"].mean > 0


def test_what_only_the_correction_blocks_is_said_with_the_number_of_tests() -> None:
    """Every sentence of an outcome can be filled in."""
    result = pool(simulate_folds(RIGHT, gap=GAP))
    for outcome in OUTCOMES.values():
        text = summary(replace(result, differences=(replace(only(result), outcome=outcome),)))[0]
        blocked = AccuracyRegion.AFTER_CORRECTION is outcome.accuracy or GapRegion.AFTER_CORRECTION is outcome.gap
        assert "{" not in text
        assert ("for 2 tests" in text) is blocked


def test_a_curve_without_gap_is_named() -> None:
    folds = simulate_folds(RIGHT)
    run = folds[1].runs[0]
    folds[1].runs[0] = replace(run, curve=run.curve.drop(columns="gap/loss"))
    with pytest.raises(DataError, match=r"the curve of finetune run vae-frozen-0 lacks gap/loss"):
        pool(folds)


def test_equal_arms_are_seldom_called_different_though_folds_share_train_lesions() -> None:
    """Lesions differ between the arms by chance, when they are trained on and when they are not; five folds.

    Two folds have half of their train lesions in common on average, so that their gaps have a correlation of 1/4: that
    which the test assumes with n_val / n_train = 1/3.
    """
    rng, studies, folds, lesions = np.random.default_rng(0), 2000, 5, 30
    unseen, seen = rng.normal(size=(2, studies, folds, lesions))
    gaps = np.stack(
        [
            unseen[:, (fold + 1) % folds].mean(1)
            - np.delete(seen, [fold, (fold + 1) % folds], axis=1)[:, :, : lesions // (folds - 2)].mean((1, 2))
            for fold in range(folds)
        ],
        axis=1,
    )  # (studies, F); of the train lesions as many as val has
    called = np.mean([fold_mean(each, 1 / 3).p_value() <= 0.05 for each in gaps])
    plain = np.mean([fold_mean(each, 0.0).p_value() <= 0.05 for each in gaps])
    error = np.sqrt(0.05 * 0.95 / studies)
    assert called <= 0.05 + 2 * error
    assert plain > 0.05 + 4 * error
