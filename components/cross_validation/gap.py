"""The overfitting gap of every fold, and whether a small one gets credit, by the rules of the comparison.

F folds, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from components.base.run_id import FinetuneProtocol
from components.comparison.against_null import AgainstNull, BaselineDifference
from components.comparison.baselines import baselines_of
from components.comparison.overfitting_gap import DECIDING_GAP, gap_curve, shared_epochs
from components.comparison.pretraining_alarms import pretraining_alarms
from components.cross_validation.folds import Fold
from components.statistics.corrected_t import fold_mean
from components.statistics.intervals import Interval
from components.statistics.question import StudyQuestion

Array = npt.NDArray[np.float64]
ArmKey = tuple[FinetuneProtocol, str]


def measure_gaps(folds: Sequence[Fold], question: StudyQuestion) -> dict[ArmKey, Array]:
    """(F, S) the gap that verdicts use, at the last epoch that all runs of the protocol have in all folds.

    Raises:
        DataError: where a run's curve lacks the gap.
    """
    found = {}
    for protocol in question.protocols:
        runs = [
            {(run.arm, run.seed): gap_curve(run, DECIDING_GAP) for run in fold.runs if run.protocol == protocol}
            for fold in folds
        ]
        last = shared_epochs([run.curve for fold in folds for run in fold.runs if run.protocol == protocol]) - 1
        for arm in question.arms:
            found[protocol, arm] = np.array([[of[arm, seed][last] for seed in question.seeds] for of in runs])
    return found


def find_credit(
    folds: Sequence[Fold],
    accuracies: Mapping[ArmKey, Array],
    intervals: Mapping[ArmKey, Interval],
    question: StudyQuestion,
    test_by_train: float,
) -> dict[ArmKey, AgainstNull]:
    """Each arm against chance, the baselines and the alarms of its pretraining in any fold.

    Args:
        folds: with the summaries of their runs.
        accuracies: (F, S) balanced accuracy.
        intervals: of its mean over folds.
        question: names the classes and gives the confidence.
        test_by_train: n_test / n_train in lesions.
    """
    runs = [run for fold in folds for run in fold.runs]
    alarms, baselines = pretraining_alarms(runs), baselines_of(runs)
    found = {}
    for (protocol, arm), own in accuracies.items():
        differences = tuple(
            BaselineDifference(
                each,
                fold_mean((own - accuracies[protocol, each]).mean(1), test_by_train).interval(question.rule.confidence),
            )
            for each in baselines
            if arm not in baselines
        )
        learned = intervals[protocol, arm].low > 1 / len(question.classes)
        found[protocol, arm] = AgainstNull(learned, (), differences, alarms[arm])
    return found
