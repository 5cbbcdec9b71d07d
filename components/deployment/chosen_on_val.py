"""The numbers of a bundle that val chooses for one run: temperature, thresholds, limits of the sets, abstention.

They come from the functions of the clinical assessment with its settings, so a bundle answers with the numbers that the
study's pages show. Test images only measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.clinical.abstention import coverage_threshold
from components.clinical.assessment import ClinicalTask
from components.clinical.calibration import fit_temperature
from components.clinical.conformal import limits, one_a_group
from components.clinical.operating_points import BinaryTask, measure_operating_points, rates
from components.deployment.decisions import malignancy_score
from components.deployment.manifest import Abstention, Conformal, Frequencies, OperatingPoint, Rate
from components.statistics.intervals import Interval
from components.statistics.prior import as_mapping
from components.statistics.resampled import Resampled, resample
from components.statistics.runs import Images, Run, probabilities, same_images

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ChosenOnVal:
    """Parts of the manifest."""

    frequencies: Frequencies
    temperature: float
    points: tuple[OperatingPoint, ...]
    conformal: Conformal
    abstention: Abstention


@dataclass(frozen=True)
class _Split:
    images: Images
    p: Array  # (N, K) as trained
    restored: Array  # (N, K)


def choose_on_val(run: Run, task: ClinicalTask) -> ChosenOnVal:
    """What val chooses for a run, and the rates of its thresholds on val and test.

    Args:
        run: with its predictions on val and test.
        task: the clinical assessment's.
    """
    classes = task.question.classes
    val, test = (_read(run, task, split) for split in ("val", "test"))
    clinic = None if task.deployment is None else as_mapping(task.deployment, classes)
    return ChosenOnVal(
        frequencies=Frequencies(
            learned=as_mapping(task.priors.trained, classes),
            train=as_mapping(task.priors.frequencies, classes),
            clinic=clinic,
        ),
        temperature=fit_temperature(val.images.labels, val.restored),
        points=_points(val, test, task) if task.malignant else (),
        conformal=_conformal(val, task),
        abstention=Abstention(
            answered=task.settings.answered, threshold=coverage_threshold(val.p.max(1), task.settings.answered)
        ),
    )


def _read(run: Run, task: ClinicalTask, split: str) -> _Split:
    classes = task.question.classes
    p = probabilities(run, split, classes)
    return _Split(same_images([run], split, classes), p, task.priors.restore(p))


def _points(val: _Split, test: _Split, task: ClinicalTask) -> tuple[OperatingPoint, ...]:
    """Those of `clinical.levels`; without one for which val has no image of the kind that it counts."""
    malignant = task.is_malignant
    binary = BinaryTask(
        "malignant",
        malignancy_score(val.restored, malignant)[None],
        malignant[val.images.labels],
        malignancy_score(test.restored, malignant)[None],
        malignant[test.images.labels],
    )
    found = measure_operating_points(_resampled(test.images, task), binary, task.settings.levels).points
    return tuple(
        OperatingPoint(
            fixed="sensitivity" if each.fixed == "sensitivity" else "specificity",
            level=each.level,
            threshold=each.thresholds[0],
            val=_val_rates(binary, each.thresholds[0]),
            test={name: _rate(interval) for name, interval in each.test.items()},
        )
        for each in found
        if np.isfinite(each.thresholds[0])
    )


def _resampled(images: Images, task: ClinicalTask) -> Resampled:
    """With the resamples of the study."""
    question = task.question.with_resamples_for(task.question.tests)
    rng = np.random.default_rng(question.seed)
    return resample(images.labels, images.groups, question.resamples, question.rule.confidence, rng)


def _val_rates(binary: BinaryTask, threshold: float) -> dict[str, float | None]:
    called = binary.val_scores >= threshold  # (1, N)
    found = rates(called, binary.val_positive, np.ones((called.shape[1], 1), np.float32))
    return {name: _known(float(found[name][0, 0])) for name in ("sensitivity", "specificity")}


def _rate(interval: Interval) -> Rate:
    return Rate(mean=_known(interval.mean), low=_known(interval.low), high=_known(interval.high))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _conformal(val: _Split, task: ClinicalTask) -> Conformal:
    """The marginal limit: one for all classes, from one val image a lesion."""
    chosen = one_a_group(val.images.groups, np.random.default_rng(task.question.seed))
    found = limits(val.images.labels[chosen], val.restored[chosen], task.settings.miss, by_class=False)
    return Conformal(
        promised=1 - task.settings.miss,
        lesions=len(chosen),
        limits={name: _known(limit) for name, limit in zip(task.question.classes, found, strict=True)},
    )
