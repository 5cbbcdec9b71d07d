"""Figures per lesion beside those per image: the images of a lesion are averaged, then the lesion is classified once.

A lesion that was photographed ten times counts ten times in figures per image and once here. Averaged are the
probabilities that each figure per image uses: as trained for the balanced decisions (accuracies, AUROC), with the class
frequencies of train restored for log loss. Figures per image decide; these show whether the answer depends on the unit.
Letters: N images, U lesions, K classes, C columns of resamples, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.base.run_id import model_name
from components.comparison.against_null import RESTORED
from components.statistics.bootstrap import Design, Sample
from components.statistics.intervals import Interval, estimate
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.log_loss import log_loss
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.prior import Priors
from components.statistics.question import StudyQuestion
from components.statistics.resampled import LOSS, SHARE
from components.statistics.runs import Images, Run, by_protocol, probabilities

Array = npt.NDArray[Any]

BALANCED = {"balanced_accuracy": balanced_accuracy, "accuracy": accuracy, "macro_auroc": macro_auroc}
"""Metrics of the probabilities as trained."""

BOUNDS = {**dict.fromkeys(BALANCED, SHARE), RESTORED: LOSS}
"""Every figure per lesion with its bounds, in the order of the page."""


@dataclass(frozen=True)
class LesionUnits:
    """Which test images show the same lesion."""

    member: Array
    """(N,) the lesion of each image."""
    first: Array
    """(U,) an image of each lesion."""
    several: int
    """Lesions with more than one image."""
    unknown: int
    """Images without a lesion id: each counts as a lesion of its own."""
    mixed: int
    """Lesion ids whose images have several classes: each class counts as a lesion of its own."""

    def average(self, p: Array) -> Array:
        """Probabilities (N, K) of images to (U, K) of lesions: the mean over the lesion's images."""
        sums = np.zeros((len(self.first), p.shape[1]))
        np.add.at(sums, self.member, p)
        return sums / np.bincount(self.member)[:, None]


@dataclass(frozen=True)
class LesionLevel:
    """The figures per lesion of all arms."""

    lesions: int
    several: int
    unknown: int
    mixed: int
    models: Mapping[str, Mapping[str, Interval]]
    """By `ARM-PROTOCOL`: BOUNDS, over lesions and seeds. Empty where no lesion has several images."""
    differences: Mapping[str, Interval]
    """By `ARM-PROTOCOL`: balanced accuracy minus the reference's, paired by seed and resample."""


def find_units(lesion_ids: Sequence[Any], test: Images) -> LesionUnits:
    """The lesions behind the test images.

    A group of the split (a patient, near-copies) may hold several lesions, and is not a unit.

    Args:
        lesion_ids: (N,) in the order of `test`; missing or empty where it is not known.
        test: the test images.
    """
    ids = pd.Series(list(lesion_ids), dtype=object)
    known = (ids.notna() & (ids != "")).to_numpy(bool)
    keys = pd.DataFrame(
        {
            "id": np.where(known, ids.astype(str), test.names),
            "known": known,
            "group": test.groups,
            "label": test.labels,
        }
    )
    member = keys.groupby(list(keys), sort=False).ngroup().to_numpy()
    classes = keys[known].groupby(["id", "group"])["label"].nunique()
    return LesionUnits(
        member=member,
        first=np.unique(member, return_index=True)[1],
        several=int((np.bincount(member) > 1).sum()),
        unknown=int((~known).sum()),
        mixed=int((classes > 1).sum()),
    )


def measure_lesions(
    runs: Sequence[Run],
    units: LesionUnits,
    test: Images,
    design: Design,
    question: StudyQuestion,
    priors: Priors,
) -> LesionLevel:
    """The figures per lesion of every arm.

    Args:
        runs: every run of the study.
        units: the lesions of the test images.
        test: their test images.
        design: resamples of whole groups, as for the figures per image.
        question: arms, reference, classes and confidence.
        priors: restore the class frequencies of train.
    """
    models: dict[str, Mapping[str, Interval]] = {}
    differences: dict[str, Interval] = {}
    confidence = question.rule.confidence
    for protocol, arms in by_protocol(runs).items() if units.several else ():
        found = {
            arm: [_measure(run, units, test, design, question.classes, priors) for run in each]
            for arm, each in arms.items()
        }
        for arm, samples in found.items():
            name = model_name(arm, protocol)
            models[name] = {
                key: estimate([each[key] for each in samples], design.strata, bounds).interval(confidence)
                for key, bounds in BOUNDS.items()
            }
            if arm != question.reference:
                pairs = zip(samples, found[question.reference], strict=True)
                paired = [mine["balanced_accuracy"] - its["balanced_accuracy"] for mine, its in pairs]
                differences[name] = estimate(paired, design.strata).interval(confidence)
    return LesionLevel(len(units.first), units.several, units.unknown, units.mixed, models, differences)


def _measure(
    run: Run, units: LesionUnits, test: Images, design: Design, classes: Sequence[str], priors: Priors
) -> dict[str, Sample]:
    """BOUNDS of one run; a lesion is in a resample as often as each of its images."""
    p = probabilities(run, "test", classes)  # (N, K)
    labels, columns = test.labels[units.first], design.columns[units.first]  # (U,), (U, C)
    trained, restored = units.average(p), units.average(priors.restore(p))
    found = {name: design.split(metric(labels, trained, columns)) for name, metric in BALANCED.items()}
    return found | {RESTORED: design.split(log_loss(labels, restored, columns))}
