"""Pooled numbers against scikit-learn and a computation by hand; outcomes of simulated folds with a known truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from sklearn.metrics import balanced_accuracy_score, log_loss

from components.base.log import SilentLog
from components.comparison.outcomes import AccuracyRegion
from components.cross_validation.analysis import METRICS, RANKING, CrossValidation, pool_folds
from components.cross_validation.folds import Fold
from components.statistics.significance import holm
from tests.unit.cross_validation.simulated_folds import CLASSES, labelled, question, simulate_folds

FOLDS = simulate_folds({"vae": 0.8, "imagenet": 0.6})


def pool(folds: list[Fold], **changes: object) -> CrossValidation:
    return pool_folds(folds, question(**changes), labelled(folds), SilentLog())


@pytest.fixture(scope="module")
def result() -> CrossValidation:
    return pool(FOLDS)


def _scores(tables: Sequence[pd.DataFrame]) -> tuple[float, float]:
    whole = pd.concat(tables)
    p = whole[[f"p_{name}" for name in CLASSES]].to_numpy()
    guessed = np.array(CLASSES)[p.argmax(1)]
    return balanced_accuracy_score(whole["label"], guessed), log_loss(whole["label"], p, labels=list(CLASSES))


def _tables(fold: Fold, arm: str) -> list[pd.DataFrame]:
    return [run.predictions for run in fold.runs if run.arm == arm]


def test_values_of_folds_and_pooled_values_are_those_of_scikit_learn(result: CrossValidation) -> None:
    (vae, _) = result.rows
    by_fold = [np.mean([_scores([table])[0] for table in _tables(fold, "vae")]) for fold in FOLDS]
    assert vae.by_fold["balanced_accuracy"] == pytest.approx(by_fold)
    pooled = [_scores(tables) for tables in zip(*(_tables(fold, "vae") for fold in FOLDS), strict=True)]
    accuracy, loss = np.mean(pooled, axis=0)
    assert vae.pooled["balanced_accuracy"] == pytest.approx(accuracy)
    assert vae.pooled["log_loss"] == pytest.approx(loss)
    assert set(vae.pooled) == set(METRICS) - {RANKING}


def test_the_interval_of_a_difference_by_hand(result: CrossValidation) -> None:
    (apart,) = result.differences
    vae, imagenet = result.rows
    by_fold = np.subtract(vae.by_fold["balanced_accuracy"], imagenet.by_fold["balanced_accuracy"])
    assert apart.by_fold["balanced_accuracy"] == pytest.approx(by_fold)
    assert result.test_by_train == pytest.approx(1 / 3)
    reach = student.ppf(0.975, 4) * by_fold.std(ddof=1) * np.sqrt(1 / 5 + 1 / 3)
    found, middle = apart.mean["balanced_accuracy"], by_fold.mean()
    assert (found.mean, found.low, found.high) == pytest.approx((middle, middle - reach, middle + reach))
    assert apart.plain.high - apart.plain.mean == pytest.approx(reach * np.sqrt(0.2 / (0.2 + 1 / 3)))


def test_a_better_arm_is_superior_and_a_worse_one_inferior(result: CrossValidation) -> None:
    assert result.differences[0].region is AccuracyRegion.SUPERIOR
    swapped = pool(FOLDS, reference="vae")
    assert swapped.differences[0].region is AccuracyRegion.INFERIOR
    assert swapped.differences[0].mean["balanced_accuracy"].mean == pytest.approx(
        -result.differences[0].mean["balanced_accuracy"].mean
    )


def test_p_values_are_corrected_over_all_comparisons() -> None:
    folds = simulate_folds({"vae": 0.66, "imagenet": 0.6, "random": 0.55})
    found = pool(folds, arms=("vae", "imagenet", "random")).differences
    assert [each.arm for each in found] == ["vae", "random"]
    accuracy = ("differs", "above_margin", "below_margin")  # exclude each other, and count once
    largest = [max(each.tests[name].p for name in accuracy) for each in found]
    gaps = [each.tests["gap"].p for each in found]
    for each, other in zip(found, reversed(largest), strict=True):
        for name in accuracy:
            assert each.tests[name].holm == pytest.approx(holm([each.tests[name].p, other, *gaps])[0])
    assert [each.tests["gap"].holm for each in found] == pytest.approx(holm([*gaps, *largest])[:2])


def test_every_lesion_is_counted_once(result: CrossValidation) -> None:
    assert result.lesions == 5 * 60
    assert result.images == len(labelled(FOLDS))
    assert [fold.number for fold in result.folds] == [0, 1, 2, 3, 4]


def test_equal_predictions_decide_nothing() -> None:
    folds = simulate_folds({"vae": 0.7, "imagenet": 0.7})
    same = [
        Fold(
            fold.number,
            [
                type(run)(run.id, fold.runs[run.seed].predictions, curve=run.curve, summary=run.summary)
                for run in fold.runs
            ],
            fold.priors,
            fold.train_lesions,
        )
        for fold in folds
    ]  # fmt: skip
    (apart,) = pool(same).differences
    assert apart.tests["differs"].p == 1
    assert not apart.mean["balanced_accuracy"].known
    assert apart.region is AccuracyRegion.TOO_WIDE
