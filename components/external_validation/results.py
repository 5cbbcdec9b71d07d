"""The result of an external validation as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.base.run_id import FinetuneProtocol, model_name
from components.external_validation.label_map import LabelMap
from components.report.wording import Claim
from components.statistics.intervals import Interval
from components.statistics.prior import Priors
from components.statistics.question import StudyQuestion
from components.statistics.resampled import DIFFERENCE, LOSS, SHARE
from components.statistics.significance import AdjustedP

EXTERNAL = "external"
"""The split of predictions on an external test set."""

LEADING = "balanced_accuracy"
"""The measure that is tested."""


@dataclass(frozen=True)
class ExternalMeasure:
    """What is measured on both test sets."""

    title: str
    bounds: tuple[float, float]
    share: bool = True
    """True if the page shows it in percent and points."""
    higher: bool = True
    """True if higher is better."""


MEASURES = {
    "balanced_accuracy": ExternalMeasure("Balanced accuracy", SHARE),
    "macro_auroc": ExternalMeasure("Macro AUROC", SHARE, share=False),
    "accuracy": ExternalMeasure("Accuracy, own class distribution", SHARE),
    "accuracy_reweighted": ExternalMeasure("Accuracy, internal class distribution", SHARE),
    "log_loss": ExternalMeasure("Log loss", LOSS, share=False, higher=False),
    "log_loss_scaled": ExternalMeasure("Log loss, scaled", LOSS, share=False, higher=False),
    "calibration_squared": ExternalMeasure(
        "Squared calibration error, debiased", DIFFERENCE, share=False, higher=False
    ),
    "calibration_squared_scaled": ExternalMeasure(
        "Squared calibration error, debiased, scaled", DIFFERENCE, share=False, higher=False
    ),
}
"""Measures that need no malignant classes; scaled: by the temperature that was fitted on val."""


@dataclass(frozen=True)
class ExternalSetup:
    """What is fixed before external images are predicted, besides the study's question."""

    cohort: str
    """Name of the external test set."""
    malignant: tuple[str, ...] | None
    """Classes; None: not known, and no measure of malignancy is given."""
    levels: tuple[float, ...]
    """Of specificity and sensitivity, for which thresholds are chosen on val."""
    bins: int
    """Of the calibration error."""
    priors: Priors
    """Of the study's models and of its train images; the external set's own frequencies are used nowhere."""
    answered: float
    """Share of the val images that a model which may abstain answers."""
    unit: str = "lesions or patients"
    """What is resampled whole in the cohort, as `StudyQuestion.unit`."""
    lesions_known: bool = True
    """Whether every image of the cohort has the id of a lesion."""
    ids_known: bool = True
    """Whether any image of the cohort has the id of a patient or lesion."""
    missing_ids: tuple[str, ...] = ()
    """Sentences about images of the cohort without ids."""


@dataclass(frozen=True)
class ExternalChange:
    """One measure of one arm on the internal test, on the external test set, and the difference."""

    internal: Interval
    external: Interval
    drop: Interval
    """External minus internal: below zero where a share fell."""
    against: Interval | None = None
    """The drop minus that of the reference; None for the reference."""


@dataclass(frozen=True)
class ExternalModel:
    """One arm under one protocol."""

    arm: str
    protocol: FinetuneProtocol
    seeds: int
    temperatures: tuple[float, ...]
    changes: Mapping[str, ExternalChange]
    """By measure, sensitivity.CLASS of the compared classes included."""
    dropped: AdjustedP
    """Null hypothesis: balanced accuracy is the same on both test sets."""
    differs: AdjustedP | None
    """Null hypothesis: the drop is that of the reference; None for the reference."""
    found: Mapping[str, Mapping[str, Interval]]
    """By run and operating point, `sensitivity_0.9`: share of the external set's malignant lesions that is found
    (`found_lesions`); empty where no classes are known to be malignant."""

    @property
    def name(self) -> str:
        """`ARM-PROTOCOL`."""
        return model_name(self.arm, self.protocol)


@dataclass(frozen=True)
class ArmOrder:
    """The arms of one protocol from best to worst by balanced accuracy, on both test sets."""

    protocol: FinetuneProtocol
    internal: tuple[str, ...]
    external: tuple[str, ...]
    sure: bool
    """True if two arms change places and both paired differences exclude zero, with opposite signs; uncorrected."""


@dataclass(frozen=True)
class ExternalValidationResult:
    """Every number and sentence of one external test set."""

    question: StudyQuestion
    setup: ExternalSetup
    labels: LabelMap
    lesions: Mapping[str, int]
    """Of the compared classes: internal, external."""
    measures: Mapping[str, ExternalMeasure]
    models: tuple[ExternalModel, ...]
    orders: tuple[ArmOrder, ...]
    claims: tuple[Claim, ...]
