"""What is no cross-validation is refused, with the fold and the name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.base.errors import DataError
from components.cross_validation.folds import Fold, check_folds
from tests.unit.cross_validation.simulated_folds import labelled, question, simulate_folds

FOLDS = simulate_folds({"vae": 0.8, "imagenet": 0.6}, count=3, lesions=12)


def test_folds_that_test_every_image_once_pass() -> None:
    check_folds(FOLDS, question(), labelled(FOLDS))


def test_a_missing_fold_leaves_images_untested() -> None:
    with pytest.raises(DataError, match=r"2 folds test .* are not tested \(fold2_test_00000"):
        check_folds(FOLDS[:2], question(), labelled(FOLDS))


def test_an_image_that_was_not_accepted_is_named() -> None:
    with pytest.raises(DataError, match=r"1 are not accepted \(fold0_test_00000\)"):
        check_folds(FOLDS, question(), labelled(FOLDS)[1:])


def test_overlapping_tests_are_refused() -> None:
    again = replace(FOLDS[0], number=1)
    with pytest.raises(DataError, match=r"image fold0_test_00000 is in the test of the folds \[0, 1\]"):
        check_folds([FOLDS[0], again, FOLDS[2]], question(), labelled(FOLDS))


def test_a_lesion_in_two_tests_is_refused() -> None:
    def moved(fold: Fold) -> Fold:
        runs = [replace(run, predictions=run.predictions.assign(group="one lesion")) for run in fold.runs]
        return replace(fold, runs=runs)

    with pytest.raises(DataError, match=r"lesion or patient one lesion is in the test of the folds \[0, 1\]"):
        check_folds([moved(FOLDS[0]), moved(FOLDS[1]), FOLDS[2]], question(), labelled(FOLDS))


def test_a_fold_with_other_seeds_is_refused() -> None:
    shorter = replace(FOLDS[1], runs=[run for run in FOLDS[1].runs if run.seed == 0])
    with pytest.raises(DataError, match=r"fold 1 lacks the runs \['imagenet-frozen-1', 'vae-frozen-1'\]"):
        check_folds([FOLDS[0], shorter, FOLDS[2]], question(), labelled(FOLDS))


def test_arms_under_other_conditions_are_refused() -> None:
    first, *others = FOLDS[2].runs
    changed = replace(FOLDS[2], runs=[replace(first, summary={**first.summary, "batches_sha256": "0" * 64}), *others])
    with pytest.raises(DataError, match="differ in batches_sha256"):
        check_folds([*FOLDS[:2], changed], question(), labelled(FOLDS))
