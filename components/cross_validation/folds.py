"""One fold of a cross-validation, and the checks that all folds together are one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from components.base.errors import DataError
from components.statistics.prior import Priors
from components.statistics.question import StudyQuestion
from components.statistics.runs import Images, Run, check_conditions, same_images

RERUN = "repeat: dermflow crossvalidate"


@dataclass(frozen=True)
class Fold:
    """The runs of the study with one fold as test."""

    number: int
    runs: Sequence[Run]
    """Every run of the study, with predictions and the fingerprints of its summary."""
    priors: Priors
    train_lesions: int
    """Lesions or patients that the fold's models learned from; those of val are not counted."""

    def test(self, classes: Sequence[str]) -> Images:
        """The test images, checked to be the same in all runs."""
        return same_images(self.runs, "test", classes)


def check_folds(folds: Sequence[Fold], question: StudyQuestion, labelled: Collection[str]) -> None:
    """All folds hold the same runs, and every labelled image is tested once.

    Args:
        folds: of the study.
        question: gives arms, protocols, seeds and classes.
        labelled: names of the accepted images with a label.

    Raises:
        DataError: where a fold has other runs, arms of a fold were trained under other conditions, an image is tested
            twice, its lesion is in two tests, or a labelled image is not tested.
    """
    expected = {
        (arm, protocol, seed) for arm in question.arms for protocol in question.protocols for seed in question.seeds
    }
    for fold in folds:
        found = {(run.arm, run.protocol, run.seed) for run in fold.runs}
        if found != expected:
            missing, other = _names(expected - found), _names(found - expected)
            raise DataError(f"fold {fold.number} lacks the runs {missing} and has {other} besides; {RERUN}")
        check_conditions(fold.runs)
    tests = {fold.number: fold.test(question.classes) for fold in folds}
    _once("image", {number: test.names.tolist() for number, test in tests.items()})
    _once("lesion or patient", {number: np.unique(test.groups).tolist() for number, test in tests.items()})
    tested = {name for test in tests.values() for name in test.names}
    if tested != set(labelled):
        missing, other = sorted(set(labelled) - tested), sorted(tested - set(labelled))
        raise DataError(
            f"{len(folds)} folds test {len(tested):,} images, and {len(set(labelled)):,} accepted images have a label: "
            f"{len(missing)} are not tested ({_few(missing)}), {len(other)} are not accepted ({_few(other)}); {RERUN}"
        )


def _names(runs: Collection[tuple[str, str, int]]) -> list[str]:
    return sorted(f"{arm}-{protocol}-{seed}" for arm, protocol, seed in runs)


def _once(what: str, by_fold: dict[int, list[str]]) -> None:
    counts = Counter(name for names in by_fold.values() for name in names)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        where = [number for number, names in by_fold.items() if twice[0] in names]
        raise DataError(
            f"{what} {twice[0]} is in the test of the folds {where}, and so are {len(twice) - 1} more of several "
            f"folds: the folds were split in different ways (split.seed, split.folds, split.group_by); {RERUN}"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])]) or "none"
