"""Which arms are baselines, and every other arm minus each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from components.base.run_id import FinetuneProtocol, model_name
from components.comparison.against_null import BaselineDifference
from components.comparison.differences import paired_estimate
from components.comparison.measurements import RunMeasurements
from components.statistics.bootstrap import Design
from components.statistics.question import StudyQuestion
from components.statistics.runs import Run


def baselines_of(runs: Iterable[Run]) -> tuple[str, ...]:
    """Arms whose pretraining method says that it is a baseline, in the order of the runs."""
    return tuple(dict.fromkeys(run.arm for run in runs if run.summary.get("baseline", False)))


def compare_with_baselines(
    groups: Mapping[FinetuneProtocol, Mapping[str, Sequence[Run]]],
    measured: Mapping[str, RunMeasurements],
    design: Design,
    question: StudyQuestion,
) -> dict[str, tuple[BaselineDifference, ...]]:
    """By `ARM-PROTOCOL`: the arm minus each baseline under the same protocol; nothing for an arm that is one.

    The intervals are not corrected for the number of baselines: an arm counts as above them only where it is above each
    of them, and the probability of saying so by chance is then not above that of one comparison (Berger 1982,
    intersection-union test).

    Args:
        groups: the runs by protocol and arm.
        measured: of each run by its name.
        design: the resamples behind `measured`.
        question: gives the confidence.
    """
    found: dict[str, tuple[BaselineDifference, ...]] = {}
    for protocol, arms in groups.items():
        of_arm = {arm: [measured[run.name] for run in runs] for arm, runs in arms.items()}
        baselines = baselines_of(run for runs in arms.values() for run in runs)
        for arm, mine in of_arm.items():
            differences = {
                name: paired_estimate(mine, of_arm[name], "balanced_accuracy", design)
                for name in baselines
                if arm not in baselines
            }
            found[model_name(arm, protocol)] = tuple(
                BaselineDifference(name, each.interval(question.rule.confidence)) for name, each in differences.items()
            )
    return found
