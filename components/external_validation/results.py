"""The result of an external validation as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from components.external_validation.label_map import LabelMap
from components.report.wording import Claim
from components.statistics.intervals import Interval
from components.statistics.resampled import LOSS, SHARE
from components.statistics.rule import Rule
from components.statistics.significance import Tested

Array = npt.NDArray[Any]


EXTERNAL = "external"
"""The split of predictions on an external test set."""


@dataclass(frozen=True)
class Measure:
    """What is measured on both sides."""

    title: str
    bounds: tuple[float, float]
    share: bool = True  # shown in percent and points
    higher: bool = True  # is better


MEASURES = {
    "balanced_accuracy": Measure("Balanced accuracy", SHARE),
    "macro_auroc": Measure("Macro AUROC", SHARE, share=False),
    "accuracy": Measure("Accuracy, each set's own mix of classes", SHARE),
    "accuracy_reweighted": Measure("Accuracy, both at the internal mix", SHARE),
    "log_loss": Measure("Log loss", LOSS, share=False, higher=False),
    "log_loss_scaled": Measure("Log loss, scaled", LOSS, share=False, higher=False),
    "ece_debiased": Measure("Calibration error, debiased", SHARE, higher=False),
    "ece_debiased_scaled": Measure("Calibration error, debiased, scaled", SHARE, higher=False),
}
"""What needs no word about malignancy; scaled: by the temperature that val chose."""


@dataclass(frozen=True)
class TransferPlan:
    """What is asked; arms, seeds and thresholds are the study's."""

    cohort: str
    arms: tuple[str, ...]
    reference: str
    classes: tuple[str, ...]
    malignant: tuple[str, ...] | None  # classes; None: not known, and malignancy is left out
    levels: tuple[float, ...]  # of specificity and sensitivity that val fixes
    bins: int
    rule: Rule
    resamples: int
    seed: int
    synthetic: bool


@dataclass(frozen=True)
class Change:
    """One measure here, there, and there minus here."""

    internal: Interval
    external: Interval
    drop: Interval  # external minus internal: below zero where a share fell
    against: Interval | None = None  # the drop minus the reference's; None for the reference itself


@dataclass(frozen=True)
class Sheet:
    """One arm under one protocol."""

    arm: str
    protocol: str
    seeds: int
    temperatures: tuple[float, ...]
    changes: Mapping[str, Change]  # by measure, and sensitivity.CLASS of the compared classes
    dropped: Tested  # of balanced accuracy: it is the same on both sides
    travels: Tested | None  # its drop is the reference's; None for the reference

    @property
    def name(self) -> str:
        """`<arm>-<protocol>`."""
        return f"{self.arm}-{self.protocol}"


@dataclass(frozen=True)
class Order:
    """The arms of one protocol from best to worst by balanced accuracy, here and there."""

    protocol: str
    internal: tuple[str, ...]
    external: tuple[str, ...]
    sure: (
        bool  # two arms change places: each side's paired difference leaves zero out, with opposite signs; uncorrected
    )


@dataclass(frozen=True)
class Transfer:
    """The whole answer, as plain data."""

    plan: TransferPlan
    labels: LabelMap
    lesions: Mapping[str, int]  # of the compared classes: internal, external
    measures: Mapping[str, Measure]
    sheets: tuple[Sheet, ...]
    orders: tuple[Order, ...]
    claims: tuple[Claim, ...]
